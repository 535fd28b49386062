"""Arrays of our networks as PyTorch stores them, and back; both ways are exact."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from assl_jax.errors import require
from assl_jax.interop.names import (
    COUNTER,
    NOT_BACKBONE,
    has_bias,
    head_name,
    is_foreign,
    torch_name,
)
from assl_jax.models import VGG, ResNet

Arrays = Mapping[str, np.ndarray]
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
    """The state_dict of the same network in a PyTorch library.

    Args:
      backbone, variables: a ResNet or a VGG, and its `{"params", "batch_stats"}`.
      library: a key of `names.HEADS`.
      head: the linear layer; None leaves it out.

    Returns:
      Arrays by name. Kernels are `[out, in, *window]`; where the library's convolutions have a
      bias it is zero.

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

    A kernel of images becomes one of volumes: it is repeated along the depth and divided by its
    size there, so that a volume of equal slices gives the image's answer. The first convolution is
    summed over its input channels for one channel, and repeated and divided for several.

    Args:
      arrays: by PyTorch's names or by our own; heads are ignored.
      backbone: the network that they are for.
      rank: spatial axes of its images.
      channels: of its images.
      source: where the arrays come from, for messages.

    Returns:
      `{"params", "batch_stats"}` of float32 arrays.

    Raises:
      InputError: a missing array, one too many, one of another shape, or one that is not finite.
    """
    image = jax.ShapeDtypeStruct((1, *(32,) * rank, channels), jnp.float32)
    shapes = jax.eval_shape(backbone.init, jax.random.key(0), image)
    wanted = flatten_dict({kind: shapes.get(kind, {}) for kind in ("params", "batch_stats")})
    foreign = is_foreign(arrays)
    require(
        not foreign or isinstance(backbone, ResNet | VGG),
        f"{source} has PyTorch's names, which are known for ResNet and VGG only; "
        f"{type(backbone).__name__} needs a run of its own",
    )
    names = {path: torch_name(backbone, path[1:]) if foreign else ".".join(path) for path in wanted}
    missing = [name for name in names.values() if name not in arrays]
    kind = _words(backbone)
    require(
        not missing,
        f"{source} lacks {missing[:1]}, which {kind} needs; set backbone.name and the other "
        "settings of `backbone` to those of the file".replace("['", "").replace("']", ""),
    )
    biases = _biases(arrays, names) if foreign else {}
    extra = arrays.keys() - set(names.values()) - biases.keys()
    extra = {n for n in extra if not n.endswith(COUNTER) and n.split(".")[0] not in NOT_BACKBONE}
    require(
        not extra,
        f"{source} holds {min(extra, default='')}, which {kind} does not have; set backbone.name "
        "to the network of the file",
    )
    found = {}
    for path, shape in wanted.items():
        name = names[path]
        array = np.asarray(arrays[name], np.float32)
        require(
            bool(np.isfinite(array).all()),
            f"{source}: {name} has values that are not finite; name another file",
        )
        if foreign and path[-1] == "kernel":
            array = _own_kernel(array)
        if path[-1] == "kernel":
            array = _reshaped(array, shape.shape)
        require(
            array.shape == shape.shape,
            f"{source}: {name} has the shape {array.shape}, {kind} needs {shape.shape}; set "
            "the settings of `backbone` to those of the file",
        )
        found[path] = array
    for bias, mean in biases.items():
        # BatchNorm follows: it subtracts a bias with the mean.
        found[mean] = found[mean] - np.asarray(arrays[bias], np.float32)
    return unflatten_dict(found)


def _biases(arrays: Arrays, names: Mapping[tuple[str, ...], str]) -> dict[str, tuple[str, ...]]:
    """Biases of convolutions, each with the path of the running mean that takes it up."""
    found = {}
    for path, name in names.items():
        bias = name.removesuffix("weight") + "bias"
        if path[-1] == "kernel" and bias in arrays:
            layer = path[-2].replace("conv", "bn")
            found[bias] = ("batch_stats", *path[1:-2], layer, "mean")
    return found


def _reshaped(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel `[*window, in, out]` for volumes or for other input channels, where that is due."""
    if kernel.ndim == len(shape) - 1:
        kernel = np.broadcast_to(kernel / shape[0], (shape[0], *kernel.shape))
    given, wanted = kernel.shape[-2], shape[-2]
    if given != wanted and wanted == 1:
        kernel = kernel.sum(-2, keepdims=True)
    elif given != wanted and given == 1:
        kernel = np.repeat(kernel / wanted, wanted, axis=-2)
    return kernel


def _torch_kernel(kernel: np.ndarray) -> np.ndarray:
    """`[*window, in, out]` to `[out, in, *window]`."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _own_kernel(kernel: np.ndarray) -> np.ndarray:
    """`[out, in, *window]` to `[*window, in, out]`."""
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def _words(backbone: nn.Module) -> str:
    """A network in a few words, for messages."""
    depth = getattr(backbone, "depth", "")
    return f"{type(backbone).__name__}-{depth}" if depth else type(backbone).__name__
