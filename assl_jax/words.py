"""What a report says: `languages/english.toml` has every sentence, the code picks its key."""

import tomllib
from collections.abc import Mapping
from importlib import resources

LANGUAGE = "english"
_FILE = resources.files("assl_jax") / "languages" / f"{LANGUAGE}.toml"
WORDS: Mapping[str, str] = tomllib.loads(_FILE.read_text(encoding="utf-8"))


def say(key: str, /, **values: object) -> str:
    """The words of a key with these values; where `n` is 1, of `key.one` if there is one."""
    if values.get("n") == 1 and f"{key}.one" in WORDS:
        key = f"{key}.one"
    return WORDS[key].format(**values)
