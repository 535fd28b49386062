"""Arrays of our networks as PyTorch stores them, and back; both ways are exact.

Where a file holds another network, the message has the settings that fit it.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from assl_jax.console import say
from assl_jax.errors import InputError, require
from assl_jax.interop.matching import Arrays, Match, Wanted, matches, one_of
from assl_jax.interop.names import COUNTER, has_bias, head_name, is_foreign, torch_name
from assl_jax.interop.places import listed
from assl_jax.models import BACKBONES, VGG, BackboneSettings, ResNet, make_backbone
from assl_jax.models.resnet import STEMS
from assl_jax.ranges import declared, mistakes

Variables = dict[str, Any]


class Head(NamedTuple):
    """A linear layer: logits are `pooled @ kernel + bias`."""

    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]


def to_own(variables: Variables, head: Head | None = None) -> dict[str, np.ndarray]:
    """Our own names and layouts, flat: `params.stem_conv.kernel`, `head.kernel`."""
    flat = {".".join(path): np.asarray(a) for path, a in flatten_dict(variables).items()}
    return flat | {
        f"head.{name}": np.asarray(a) for name, a in (head._asdict() if head else {}).items()
    }


def to_torch(
    backbone: nn.Module, variables: Variables, library: str, head: Head | None = None
) -> dict[str, np.ndarray]:
    """The state_dict of the same network in a PyTorch library, a key of `names.HEADS`.

    Kernels are `[out, in, *window]`; where the library's convolutions have a bias it is zero.

    Raises:
      InputError: the library has no such network.
    """
    last = head_name(library, backbone)
    found: dict[str, np.ndarray] = {}
    for collection in ("params", "batch_stats"):
        for path, value in flatten_dict(variables[collection]).items():
            name, array = torch_name(backbone, path), np.asarray(value)
            found[name] = _torch_kernel(array) if path[-1] == "kernel" else array
            layer = name.rpartition(".")[0]
            if path[-1] == "kernel" and has_bias(library, name):
                found[f"{layer}.bias"] = np.zeros(array.shape[-1], array.dtype)
            if path[-1] == "var":
                found[f"{layer}.{COUNTER}"] = np.zeros((), np.int64)
    if head:
        found |= {
            f"{last}.weight": np.asarray(head.kernel).T,
            f"{last}.bias": np.asarray(head.bias),
        }
    return {name: np.array(a, order="C") for name, a in sorted(found.items())}


def fit(arrays: Arrays, backbone: nn.Module, *, rank: int, channels: int, source: str) -> Variables:
    """Weights from a file or another run, in the shapes of `backbone`.

    The network may lie anywhere in the file, see `places`; one line says where, and what is left
    out.

    A kernel of images becomes one of volumes: it is repeated along the depth and divided by its
    size there, so that a volume of equal slices gives the image's answer. The first convolution is
    summed over its input channels for one channel, and repeated and divided for several.

    Args:
      arrays: by PyTorch's names or by our own.
      backbone: the network that they are for.
      rank, channels: spatial axes and channels of its images.
      source: where the arrays come from, for messages.

    Raises:
      InputError: a missing array, one too many, one of another shape, or one that is not finite;
        several networks that fit. If another network fits, the message has its settings.
    """
    wanted = Wanted(backbone, rank, channels)
    found = list(matches(arrays, wanted))
    fitting = [match for match in found if not match.problem]
    if not fitting:
        require(
            bool(found) or isinstance(backbone, ResNet | VGG) or not is_foreign(arrays),
            f"{source} has PyTorch's names, which are known for ResNet and VGG only; "
            f"{wanted.title} needs a run of its own",
        )
        raise InputError(f"{source} {_refusal(arrays, found, wanted)}")
    match = one_of(fitting, source)
    variables = match.variables()
    for path, array in variables.items():
        require(
            bool(np.isfinite(array).all()),
            f"{source}: {match.names[path]} has values that are not finite; name another file",
        )
    if match.note:
        say(f"{source}: {match.note}")
    return unflatten_dict(variables)


def _torch_kernel(kernel: np.ndarray) -> np.ndarray:
    """`[*window, in, out]` to `[out, in, *window]`."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


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


def _refusal(arrays: Arrays, found: Sequence[Match], wanted: Wanted) -> str:
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
