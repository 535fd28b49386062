"""The meanings of settings, read from the docstrings that declare them."""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

SAME = re.compile(r"as in `(\w+)`")
ENTRY = re.compile(r"  ([*\w]+(?:, [*\w]+)*): (.*)")  # "  name, name: text"


def sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    text = inspect.cleandoc(docstring or "")
    return " ".join(text.partition("\n\n")[0].split())


def meanings(declarer: Any) -> dict[str, str]:
    """What the arguments of a function, or the fields of a class, mean, each on one line.

    Its docstring has a section "Args:" or "Attributes:". What a class inherits is read from its
    bases too. "as in `Name`" stands for the text of `Name`, which is a base or a name in the same
    module.
    """
    found: dict[str, str] = {}
    lineage = getattr(declarer, "__mro__", (declarer,))
    bases = {base.__name__: base for base in lineage[1:]}
    for each in reversed(lineage):
        known = vars(sys.modules.get(each.__module__, object)) | bases
        for name, text in _entries(each.__doc__):
            other = SAME.match(text)
            if other and other[1] in known:
                text = meanings(known[other[1]]).get(name, text)
            found[name] = text
    return found


def _entries(docstring: str | None) -> Iterator[tuple[str, str]]:
    """The entries of the sections that describe arguments or fields."""
    names: list[str] = []
    text: list[str] = []
    inside = False
    for line in [*inspect.cleandoc(docstring or "").splitlines(), "end"]:
        start = ENTRY.fullmatch(line) if inside else None
        if names and (start or (line and not line.startswith("    "))):
            yield from ((name, " ".join(text)) for name in names)
            names = []
        if line and not line.startswith(" "):
            inside = line in ("Args:", "Attributes:")
        elif start:
            names, text = start[1].replace("*", "").split(", "), [start[2].strip()]
        elif names and line:
            text.append(line.strip())
