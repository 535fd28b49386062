"""Finds where in a file the arrays of a network lie, whatever stands before or beside their names.

Training programs store a network inside others: `module.encoder_q.layer1.0.conv1.weight`, or
`backbone.4.0.conv1.weight` if `nn.Sequential` numbers its parts. The names of the network itself
are always the same, so it lies wherever all of them follow the same prefix.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from assl_jax.interop.names import COUNTER, is_foreign

DEEPEST = 12  # parts of a name, separated by dots, that may be a prefix
# Parts of the names of networks that follow another one by a moving average, or are its teacher.
FOLLOWERS = {"k", "key", "m", "ema", "momentum", "teacher", "target", "averaged"}
SYNONYMS = {"shortcut": "downsample"}  # parts of names in other programs
NUMBER = re.compile(r"[0-9]{1,9}")
SHOWN = 6  # names in a message


class Place(NamedTuple):
    """Where arrays of a network may lie.

    Attributes:
      prefix: what stands before their names.
      names: the file's name of each array behind the prefix, by what the network calls it.
      numbered: the numbers that stand for parts of the network, in the order of the parts.
    """

    prefix: str
    names: Mapping[str, str]
    numbered: Sequence[str] = ()

    @property
    def follows(self) -> bool:
        """Whether the prefix says that the network follows another one."""
        return not FOLLOWERS.isdisjoint(re.split(r"[._]", self.prefix.lower()))


def places(names: Collection[str], wanted: Sequence[str]) -> Iterator[Place]:
    """Every place of a file that could hold a network, the shortest prefix first.

    `wanted` is what the network calls its arrays, in its order.
    """
    anchor = _common(wanted)
    parts = list(dict.fromkeys(name.removeprefix(anchor).partition(".")[0] for name in wanted))
    behind: dict[str, dict[str, str]] = {}
    for name in names:
        steps = name.split(".", DEEPEST)
        for i in range(len(steps)):
            prefix = "".join(f"{step}." for step in steps[:i])
            behind.setdefault(prefix, {})[_usual(name[len(prefix) :])] = name
    for prefix in sorted(behind, key=lambda p: p.count(".")):
        found = behind[prefix]
        outside = prefix.removesuffix(anchor)
        yield Place(outside, {anchor + name: found[name] for name in found})
        numbers = {name.partition(".")[0] for name in found}
        numbered = sorted(filter(NUMBER.fullmatch, numbers), key=int)[: len(parts)]
        if len(numbered) == len(parts) and not NUMBER.fullmatch(parts[0]):
            meant = dict(zip(numbered, parts, strict=True))
            read = {_renamed(name, meant): file for name, file in found.items()}
            yield Place(outside, {anchor + name: file for name, file in read.items()}, numbered)


def strangers(place: Place, wanted: Collection[str]) -> list[str]:
    """Arrays behind the prefix that continue the network: the file's network is a larger one.

    An array beside the network, such as `fc.weight` or `queue`, has another first name.
    """
    anchor = _common(wanted)
    own = {_family(name, anchor) for name in wanted}
    known = set(wanted)
    return [
        file
        for name, file in place.names.items()
        if name not in known and not name.endswith(COUNTER) and _family(name, anchor) in own
    ]


def rest(names: Collection[str], taken: Collection[str]) -> list[str]:
    """The names that were not taken, those of a part of the file as one."""
    inside = {name[:i] for name in taken for i, sign in enumerate(name) if sign == "."}
    groups: dict[str, None] = {}
    for name in names:
        if name not in taken and not name.endswith(COUNTER):
            steps = name.split(".")
            heads = (".".join(steps[: i + 1]) for i in range(len(steps)))
            groups[next((head for head in heads if head not in inside), name)] = None
    return list(groups)


def listed(names: Sequence[str]) -> str:
    """The first few of some names."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _common(names: Collection[str]) -> str:
    """The parts with which all names of PyTorch begin: `features.` in a VGG."""
    if not is_foreign(names):
        return ""
    first, last = min(names, default=""), max(names, default="")
    same = 0
    for a, b in zip(first.split(".")[:-1], last.split("."), strict=False):
        if a != b:
            break
        same += len(a) + 1
    return first[:same]


def _family(name: str, anchor: str) -> str:
    """The first part of a name without its number."""
    return name.removeprefix(anchor).partition(".")[0].rstrip("0123456789")


def _renamed(name: str, meant: Mapping[str, str]) -> str:
    """A name with another first part."""
    part, dot, rest = name.partition(".")
    return meant.get(part, part) + dot + rest


def _usual(name: str) -> str:
    """A name with torchvision's words for some parts."""
    return ".".join(SYNONYMS.get(part, part) for part in name.split("."))
