"""What a file holds instead of the network that was asked for, and the settings that fit it."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from assl_jax.interop.matching import Arrays, Match, Wanted, matches
from assl_jax.interop.places import listed
from assl_jax.models import BACKBONES, BackboneSettings, make_backbone
from assl_jax.models.resnet import STEMS
from assl_jax.ranges import declared, mistakes


class Held(NamedTuple):
    """A network with just the names that a file has.

    Attributes:
      settings: of `make_backbone`.
      stems: all stems with a first kernel of the file's size.
      rank, channels: of the file's images.
    """

    settings: dict[str, Any]
    stems: list[str]
    rank: int
    channels: int

    def fits(self, arrays: Arrays, rank: int, channels: int, delay: Sequence[int]) -> bool:
        """Whether the file has the shapes too, for such images."""
        wanted = Wanted(make_backbone(**self.settings, delay=delay), rank, channels)
        return not all(match.problem for match in matches(arrays, wanted))


def refusal(arrays: Arrays, found: Sequence[Match], wanted: Wanted) -> str:
    """Why a file does not fit a network, and what to do: a message without its subject.

    `found` are the places of the file that hold something of the network.
    """
    nearest = max(found, key=lambda match: len(match.names), default=None)
    if nearest and 2 * len(nearest.names) > len(wanted.shapes):
        problem = nearest.problem
    else:
        shown = [f"{name} {array.shape}" for name, array in arrays.items() if array.ndim > 1]
        problem = f"holds no {wanted.title}; its kernels are {listed(shown) or '(none)'}"
    delay = tuple(getattr(wanted.backbone, "delay", ()))
    for held in _held(arrays, getattr(wanted.backbone, "stem", "")):
        for tried in dict.fromkeys((delay, (0,) * len(delay))):
            if held.fits(arrays, wanted.rank, wanted.channels, tried):
                return f"{problem}; set {_flags(held, () if tried == delay else tried)}"
        if held.fits(arrays, held.rank, held.channels, ()):
            kind = {2: "images", 3: "volumes"}.get(held.rank, f"images of {held.rank} axes")
            return f"{problem}; the file is for {kind} of {held.channels} channel(s)"
    return f"{problem}; no backbone has these arrays: name another file"


def _flags(held: Held, delay: Sequence[int]) -> str:
    """The flags of a network that fits."""
    more = {"delay": f'"({",".join(map(str, delay))})"'} if delay else {}
    flags = " ".join(f"--config.backbone.{k}={v}" for k, v in (held.settings | more).items())
    same = f" (the stems {', '.join(held.stems)} have the same arrays)"
    return flags + (same if len(held.stems) > 1 else "")


def _held(arrays: Arrays, stem: str) -> Iterator[Held]:
    """The networks with just the names of a file, with the stem `stem` if it is possible."""
    kernels = sum(array.ndim > 2 for array in arrays.values())
    for name, entry in BACKBONES.items():
        if entry.fixed.get("depth", 0) - 3 > kernels:  # at most three layers are linear
            continue
        plain = _plain(name)
        for match in matches(arrays, plain):
            shape = np.shape(arrays[match.names[plain.stem]]) if not match.other_names else ()
            if len(shape) not in (4, 5) or 0 in shape:
                continue
            out, channels, *window = shape if match.foreign else (*shape[:-3:-1], *shape[:-2])
            settings: dict[str, Any] = {"name": name}
            settings["width"] = float(f"{out / plain.shapes[plain.stem][-1]:g}")
            stems = [each for each, (kernel, *_) in STEMS.items() if kernel == max(window)]
            if "stem" in entry.ignored:
                stems = []
            elif stems:
                settings["stem"] = stem if stem in stems else stems[-1]
            else:
                continue
            if not mistakes(declared(BackboneSettings), settings, ""):
                yield Held(settings, stems, len(window), channels)


@functools.cache
def _plain(name: str) -> Wanted:
    """A network as its name alone gives it; its names do not depend on the other settings."""
    return Wanted(make_backbone(name), 2, 3)
