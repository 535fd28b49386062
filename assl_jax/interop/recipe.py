"""Python code that builds the same network in PyTorch and loads an exported file into it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from assl_jax.errors import require
from assl_jax.interop.filling import fill
from assl_jax.interop.names import head_name, pool_position
from assl_jax.interop.source import Source
from assl_jax.models import VGG, ResNet, resnet
from assl_jax.models.conv import Conv, per_axis

WIDTHS = [64, 128, 256, 512]  # of a ResNet
Axes = tuple[int, ...]


class Seen(NamedTuple):
    """A convolution as it runs on the images of a run: one number for each spatial axis."""

    kernel: Axes
    stride: Axes
    space: Axes


def recipe(library: str, source: Source, file: str) -> str:
    """The code, with a line for everything in which the library's own network differs.

    Short axes of the run's images are not halved to the end, and the code says so; images of other
    lengths may need other strides. Without a head the output is the pooled features.

    Raises:
      InputError: the library has no such network.
    """
    backbone = source.backbone
    head = head_name(library, backbone)
    others = "monai, safetensors or onnx" if isinstance(backbone, ResNet) else "safetensors or onnx"
    width, shortcut = getattr(backbone, "width", 1.0), getattr(backbone, "shortcut", "B")
    for fits, lacks in (
        (len(source.reader.shape) == 3, " has no networks for volumes"),
        (width == 1.0, f"'s networks have no backbone.width={width}"),
        (shortcut == "B", "'s networks have no shortcut A"),
    ):
        require(fits or library == "monai", f"{library}{lacks}; use --format={others}")
    seen = _convolutions(backbone, source.variables, source.reader.shape)
    about = _of_vgg(backbone, seen) if isinstance(backbone, VGG) else _of_resnet(backbone, seen)
    about |= {"library": library, "head": head, "channels": source.reader.shape[-1]}
    about |= {"classes": len(source.classes), "file": file}
    return fill("network.py.j2", kind=type(backbone).__name__, **about)


def _convolutions(
    backbone: nn.Module, variables: dict[str, Any], image: Sequence[int]
) -> dict[str, Seen]:
    """Every convolution by its path, such as "stage2_block1/conv1"; nothing is computed."""
    seen: dict[str, Seen] = {}

    def look(run: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        layer = context.module
        if isinstance(layer, Conv) and context.method_name == "__call__":
            rank = args[0].ndim - 2
            axes = per_axis(layer.kernel, rank), per_axis(layer.stride, rank)
            seen["/".join(layer.path)] = Seen(*axes, args[0].shape[1:-1])
        return run(*args, **kwargs)

    whole = backbone.clone(remat=False)
    with nn.intercept_methods(look):
        jax.eval_shape(whole.apply, variables, jax.ShapeDtypeStruct((1, *image), jnp.float32))
    return seen


def _halved(before: Axes, after: Axes) -> Axes:
    """Strides between two maps; an axis of one position has none."""
    return tuple(2 if n > m else 1 for n, m in zip(before, after, strict=True))


def _of_resnet(backbone: Any, seen: dict[str, Seen]) -> dict[str, Any]:
    """What the code of a ResNet depends on; `strides` are those of stages with a short axis."""
    kernel, stride, space = seen["stem_conv"]
    # The stem's map before its pooling.
    before = tuple(
        (n + 2 * (k // 2) - k) // s + 1 for n, k, s in zip(space, kernel, stride, strict=True)
    )
    pooled = _halved(before, seen["stage1_block1/conv1"].space)
    layers, blocks = resnet.DEPTHS[backbone.depth]
    conv = f"conv{resnet.halving_layer(layers) + 1}"
    strides = {stage: seen[f"stage{stage}_block1/{conv}"].stride for stage in (2, 3, 4)}
    return {
        "basic": layers == resnet.BASIC,
        "blocks": list(blocks),
        "planes": [backbone.channels(width) for width in WIDTHS],
        "kernel": kernel,
        "stride": stride,
        "padding": tuple(k // 2 for k in kernel),
        "pools": resnet.STEMS[backbone.stem][2],
        "pooled": pooled,
        "pool": (tuple(2 * s - 1 for s in pooled), pooled, tuple(s - 1 for s in pooled)),
        "conv": conv,
        "shortcut": backbone.shortcut,
        "strides": {stage: each for stage, each in strides.items() if set(each) != {2}},
    }


def _of_vgg(backbone: VGG, seen: dict[str, Seen]) -> dict[str, Any]:
    """The same for a VGG, with one linear layer behind the mean in place of three.

    The layers of a stage keep the size of its map.
    """
    strides = {
        pool_position(backbone.depth, stage): _halved(
            *(seen[f"stage{each}_conv1"].space for each in (stage - 1, stage))
        )
        for stage in range(2, 6)
    }
    strides = {place: each for place, each in strides.items() if set(each) != {2}}
    return {"depth": backbone.depth, "strides": strides}
