"""Arrays of our networks as PyTorch stores them, and back; both ways are exact."""

from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from assl_jax.console import say
from assl_jax.errors import InputError, require
from assl_jax.interop.advice import refusal
from assl_jax.interop.matching import Arrays, Wanted, matches, one_of
from assl_jax.interop.names import COUNTER, has_bias, head_name, is_foreign, torch_name
from assl_jax.models import VGG, ResNet

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
        raise InputError(f"{source} {refusal(arrays, found, wanted)}")
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
