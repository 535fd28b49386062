"""Compares the arrays of a file with those that a network needs."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from assl_jax.errors import require
from assl_jax.interop.names import torch_name
from assl_jax.interop.places import Place, listed, places, rest, strangers
from assl_jax.models import BACKBONES, VGG, ResNet

Arrays = Mapping[str, np.ndarray]
Path = tuple[str, ...]
Shape = tuple[int, ...]
COLLECTIONS = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a network needs: `backbone`, for images of `rank` spatial axes and `channels`."""

    backbone: nn.Module
    rank: int
    channels: int

    @functools.cached_property
    def shapes(self) -> dict[Path, Shape]:
        """The shape of each array, in the order in which the network uses them."""
        order: list[Path] = []

        def init(key: jax.Array, x: jax.Array) -> dict[Path, jax.Array]:
            found = self.backbone.init(key, x)
            flat = flatten_dict({kind: found[kind] for kind in COLLECTIONS if kind in found})
            order.extend(flat)
            return flat

        image = jax.ShapeDtypeStruct((1, *(32,) * self.rank, self.channels), jnp.float32)
        found = jax.eval_shape(init, jax.random.key(0), image)
        return {path: found[path].shape for path in order}

    @property
    def stem(self) -> Path:
        """The first kernel, or the first array of a network without any."""
        return min(self.shapes, key=lambda path: path[-1] != "kernel")

    @property
    def title(self) -> str:
        """The network in a few words."""
        own = {name: getattr(self.backbone, name, None) for name in ("depth", "shortcut")}
        titles = [
            entry.title
            for entry in BACKBONES.values()
            if isinstance(self.backbone, entry.module) and entry.fixed.items() <= own.items()
        ]
        # The last one fixes most.
        return titles[-1] if titles else type(self.backbone).__name__

    @functools.cached_property
    def names(self) -> dict[bool, dict[Path, str]]:
        """What PyTorch's libraries (True), if they have such a network, and we call each array."""
        own = {path: ".".join(path) for path in self.shapes}
        if not isinstance(self.backbone, ResNet | VGG):
            return {False: own}
        return {True: {p: torch_name(self.backbone, p[1:]) for p in self.shapes}, False: own}


@dataclasses.dataclass(frozen=True)
class Match:
    """A place of a file, compared with what a network needs.

    Attributes:
      arrays: of the file.
      place: where something of the network lies.
      foreign: whether the names and layouts are PyTorch's.
    """

    wanted: Wanted
    arrays: Arrays
    place: Place
    foreign: bool

    @functools.cached_property
    def names(self) -> dict[Path, str]:
        """The file's name of each array that is there."""
        names, there = self.wanted.names[self.foreign], self.place.names
        return {path: there[name] for path, name in names.items() if name in there}

    @functools.cached_property
    def biases(self) -> dict[str, Path]:
        """The biases of convolutions, each with the path of the running mean that takes it up."""
        found = {}
        for path, name in self.wanted.names[True].items() if self.foreign else ():
            bias = self.place.names.get(name.removesuffix("weight") + "bias")
            if path[-1] == "kernel" and bias:
                layer = path[-2].replace("conv", "bn")
                found[bias] = ("batch_stats", *path[1:-2], layer, "mean")
        return found

    @functools.cached_property
    def other_names(self) -> str:
        """What the place lacks, or has too much, of the network's names; "" if nothing."""
        names, title = self.wanted.names[self.foreign].values(), self.wanted.title
        missing = [self.place.prefix + name for name in names if name not in self.place.names]
        if missing:
            return f"lacks {_counted(missing)}, which {title} needs"
        extra = [name for name in strangers(self.place, names) if name not in self.biases]
        if extra:
            shape = np.shape(self.arrays[extra[0]])
            return f"holds {_counted(extra, f' in the shape {shape}')}, which {title} does not have"
        return ""

    @functools.cached_property
    def problem(self) -> str:
        """Why the network cannot have these arrays; "" if it can."""
        return self.other_names or self._wrong_shape()

    def _wrong_shape(self) -> str:
        """The first array of a shape that does not fit, and what would; "" if all fit."""
        for path, name in self.names.items():
            given, shape = np.shape(self.arrays[name]), self.wanted.shapes[path]
            if self._adapted(np.broadcast_to(np.float32(0), given), path).shape != shape:
                if self.foreign and path[-1] == "kernel":
                    shape = (shape[-1], shape[-2], *shape[:-2])
                return f"holds {name} in the shape {given}; {self.wanted.title} needs {shape}"
        for name, mean in self.biases.items():
            given, shape = np.shape(self.arrays[name]), self.wanted.shapes[mean]
            if given != shape:
                return f"holds {name} in the shape {given}, which must be {shape}"
        return ""

    @property
    def note(self) -> str:
        """What of the file is read, and what is left out; "" if all is read as it is."""
        prefix, _, numbered = self.place
        said = [f"read {prefix}*"] if prefix else []
        if numbered:
            parts = dict.fromkeys(n.partition(".")[0] for n in self.wanted.names[True].values())
            said.append(f"took {', '.join(numbered)} as {', '.join(parts)}")
        if left := rest(self.arrays, {*self.names.values(), *self.biases}):
            said.append(f"left out {listed(left)}")
        return "; ".join(said)

    def variables(self) -> dict[Path, np.ndarray]:
        """The arrays as the network needs them, by path."""
        found = {
            path: self._adapted(np.asarray(self.arrays[name], np.float32), path)
            for path, name in self.names.items()
        }
        for bias, mean in self.biases.items():
            # BatchNorm follows: it subtracts a bias with the mean.
            found[mean] = found[mean] - np.asarray(self.arrays[bias], np.float32)
        return found

    def equals(self, other: "Match") -> bool:
        """Whether two places hold the same numbers: some programs store a network twice."""
        pairs = ((self.arrays[name], self.arrays[other.names[p]]) for p, name in self.names.items())
        return all(np.array_equal(a, b) for a, b in pairs)

    def _adapted(self, array: np.ndarray, path: Path) -> np.ndarray:
        """An array in our layout; a kernel for volumes or other channels, where that is due."""
        shape = self.wanted.shapes[path]
        if path[-1] != "kernel" or array.ndim < 3:
            return array
        if self.foreign:
            array = np.moveaxis(array, (0, 1), (-1, -2))
        if array.ndim == len(shape) - 1:
            array = np.broadcast_to(array / shape[0], (shape[0], *array.shape))
        given, needed = array.shape[-2], shape[-2]
        if given == needed or needed != self.wanted.channels:
            return array
        if needed == 1:
            return array.sum(-2, keepdims=True)
        return np.repeat(array / needed, needed, axis=-2) if given == 1 else array


def matches(arrays: Arrays, wanted: Wanted) -> Iterator[Match]:
    """Every place of a file that holds something of a network."""
    for foreign, names in wanted.names.items():
        for place in places(arrays, list(names.values())):
            match = Match(wanted, arrays, place, foreign)
            if match.names:
                yield match


def one_of(fitting: Sequence[Match], source: str) -> Match:
    """The network that a file's user means: not one that follows another."""
    first, *others = [match for match in fitting if not match.place.follows] or fitting
    differ = [other for other in others if not first.equals(other)]
    starts = [match.names[match.wanted.stem] for match in (first, *differ)]
    require(
        not differ,
        f"{source} holds {len(starts)} networks that fit, which begin with {', '.join(starts)}; "
        "write one of them alone into a file",
    )
    return first


def _counted(names: Sequence[str], more: str = "") -> str:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}{others}"
