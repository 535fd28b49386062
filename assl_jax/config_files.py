"""Config files: the program's own by name, and the user's by path."""

import ast
import inspect
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from assl_jax.config_reading import GONE, gone
from assl_jax.docstrings import sentence
from assl_jax.errors import InputError, lookup, require

PACKAGE = Path(__file__).parent


def own_configs() -> dict[str, Path]:
    """The files of the program's own configs by name, sorted.

    They lie in the installed package as `assl_jax.configs`, and next to it in a checkout.
    """
    inside = PACKAGE / "configs"
    folder = inside if inside.is_dir() else PACKAGE.parent / "configs"
    return {file.stem: file for file in sorted(folder.glob("[!_]*.py"))}


def describe(file: Path) -> str:
    """The first sentence of a config file, which is not run."""
    return sentence(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")


def find(config: str) -> tuple[Path, str]:
    """The file of a config, and the word after the colon.

    Args:
      config: the name of one of the program's own configs or the path of a file that ends in
        ".py", each with ":WORD" after it if the config takes a word.
    """
    found = re.fullmatch(r"(.+?\.py|[^:]+)(?::(.*))?", config, re.DOTALL)
    name, word = (found[1], found[2] or "") if found else (config, "")
    own = own_configs()
    if not name.endswith(".py"):
        return lookup(own, name, "config"), word
    file = Path(os.path.expanduser(name))
    if not file.is_file():
        there = f"config {name} cannot be read: there is no such file here"
        require(file.stem not in own, f"{there}; --config={file.stem} is the program's own")
        try:
            lookup(own, file.stem, "config")
        except InputError as error:
            raise InputError(f"{there}, and {error}") from None
    return file, word


def load(config: str) -> ConfigDict:
    """What `get_config` of a config file returns.

    Args:
      config: see `find`. The word is the argument of `get_config`.
    """
    file, word = find(config)
    for folder in (os.getcwd(), str(file.resolve().parent)):  # what the file may import
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        module = ModuleType(f"config_{file.stem}")
        module.__file__ = str(file)
        # The import system would leave a `__pycache__` beside the user's file.
        exec(compile(file.read_bytes(), file, "exec"), vars(module))
        require(
            not word or bool(inspect.signature(module.get_config).parameters),
            f"config {config}: {file.stem} takes no word after a colon; leave out :{word}",
        )
        found = module.get_config(*filter(None, [word]))
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        old = next((key for key in GONE if f".{key}" in text), "")
        reason = gone(old) or f"{type(error).__name__}: {error}"
        raise InputError(f"config {config} cannot be used ({reason})") from error
    require(isinstance(found, ConfigDict), f"get_config of {file} must return a ConfigDict")
    return found
