"""The catalogue of sentences: complete, and nothing in it is left over."""

import ast
import re
import typing
from pathlib import Path
from string import Formatter

from assl_jax import report
from assl_jax.records import network
from assl_jax.strategies.settings import SearchSettings
from assl_jax.words import WORDS, say

FOLDER = Path(report.__file__).parent
NODES = [
    (file, node)
    for file in (*FOLDER.glob("*.py"), Path(network.__file__))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
]


def said():
    """The keys that the code names, those with a part that is chosen as patterns."""
    for _, node in NODES:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value)
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else None for v in node.values)
            yield "".join(re.escape(part) if part else "[a-z_]*" for part in parts)
    for template in (FOLDER / "templates").iterdir():
        yield from map(re.escape, re.findall(r'say\("([^"]+)"', template.read_text()))


def test_every_sentence_is_used():
    keys = re.compile("|".join(sorted(set(said()) - {"[a-z_]*"})))
    for key in WORDS:
        plain = key.removesuffix(".one")
        own = {plain, plain.removeprefix("search.")}  # the trace of a search adds its own name
        assert any(map(keys.fullmatch, own)), key


def test_every_key_that_is_said_has_words_and_its_values():
    for file, node in NODES:
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "say"):
            continue
        key, given = node.args[0], {keyword.arg for keyword in node.keywords}
        if isinstance(key, ast.Constant):
            needed = {field for _, field, _, _ in Formatter().parse(WORDS[key.value]) if field}
            assert None in given or needed <= given, f"{file.name}:{node.lineno}"


def test_one_thing_and_several():
    assert say("files", n=1) == "1 file, with reasons"
    assert say("files", n=1234) == "1,234 files, with reasons"


def test_every_criterion_of_a_search_and_every_section_has_words():
    types = typing.get_type_hints(SearchSettings, include_extras=True)
    (criteria,) = types["next"].__metadata__
    assert {f"search.next.{criterion}" for criterion in criteria.names} <= set(WORDS)
    assert {f"section.{key}" for key in report.SECTIONS} <= set(WORDS)
