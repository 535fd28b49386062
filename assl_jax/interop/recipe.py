"""Python code that builds the same network in PyTorch and loads an exported file into it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from assl_jax.errors import require
from assl_jax.interop.names import head_name, pool_position
from assl_jax.models import VGG, ResNet, resnet
from assl_jax.models.conv import Conv, per_axis

WIDTHS = [64, 128, 256, 512]  # of a ResNet
Axes = tuple[int, ...]


class Seen(NamedTuple):
    """A convolution as it runs on the images of a run: one number for each spatial axis."""

    kernel: Axes
    stride: Axes
    space: Axes


def recipe(
    library: str,
    backbone: nn.Module,
    variables: dict[str, Any],
    *,
    space: Sequence[int],
    channels: int,
    classes: int,
    file: str,
) -> str:
    """The code, with a line for everything in which the library's own network differs.

    Args:
      library: a key of `names.HEADS`.
      backbone, variables: a ResNet or a VGG, and its weights.
      space, channels: of the run's images. Short axes are not halved to the end, and the code says
        so; images of other lengths may need other strides.
      classes: number of logits; 0 for a backbone alone, whose output is then the pooled features.
      file: name of the exported file.

    Raises:
      InputError: the library has no such network.
    """
    head = head_name(library, backbone)
    rank = len(space)
    require(
        rank == 2 or library == "monai",
        f"{library} has no networks for volumes; use --format=monai, safetensors or onnx",
    )
    width = getattr(backbone, "width", 1.0)
    others = "monai, safetensors or onnx" if isinstance(backbone, ResNet) else "safetensors or onnx"
    require(
        width == 1.0 or library == "monai",
        f"{library}'s networks have no backbone.width={width}; use --format={others}",
    )
    require(
        getattr(backbone, "shortcut", "B") == "B" or library == "monai",
        f"{library}'s networks have no shortcut A; use --format={others}",
    )
    seen = _convolutions(backbone, variables, (*space, channels))
    build = _BUILDERS[library, type(backbone)]
    lines = build(library, backbone, seen, channels, classes, head)
    return "\n".join([*lines, f'net.load_state_dict(load_file("{file}"))', "net.eval()"])


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


def _maps_of_stem(seen: dict[str, Seen]) -> tuple[Axes, Axes]:
    """The stem's map before and after its pooling."""
    kernel, stride, space = seen["stem_conv"]
    before = tuple(
        (n + 2 * (k // 2) - k) // s + 1 for n, k, s in zip(space, kernel, stride, strict=True)
    )
    return before, seen["stage1_block1/conv1"].space


def _patches(backbone: ResNet, seen: dict[str, Seen], library: str) -> list[str]:
    """Lines for the pooling of the stem and for stages that do not halve every axis."""
    lines = []
    pools = resnet.STEMS[backbone.stem][2]
    strides = _halved(*_maps_of_stem(seen))
    if not pools and library != "monai":
        lines.append("net.maxpool = torch.nn.Identity()")
    elif pools and set(strides) != {2}:
        sizes = tuple(2 * s - 1 for s in strides), strides, tuple(s - 1 for s in strides)
        lines.append(f"net.maxpool = torch.nn.MaxPool{len(strides)}d{sizes}")
    conv = f"conv{resnet.halving_layer(resnet.DEPTHS[backbone.depth][0]) + 1}"
    shortcut = {"A": '.keywords["stride"]', "B": "[0].stride"}[backbone.shortcut]
    for stage in (2, 3, 4):
        stride = seen[f"stage{stage}_block1/{conv}"].stride
        if set(stride) != {2}:
            block = f"net.layer{stage}[0]"
            lines.append(f"{block}.{conv}.stride = {block}.downsample{shortcut} = {stride}")
    return lines


def _resnet(
    library: str, backbone: ResNet, seen: dict[str, Seen], channels: int, classes: int, head: str
) -> list[str]:
    """torchvision's or timm's ResNet."""
    layers, blocks = resnet.DEPTHS[backbone.depth]
    block = {resnet.BASIC: "BasicBlock", resnet.BOTTLENECK: "Bottleneck"}[layers]
    lines = [
        "import torch",
        "from safetensors.torch import load_file",
        f"from {library}.models.resnet import {block}, ResNet",
        "",
        f"net = ResNet({block}, {list(blocks)}, num_classes={classes or 1})",
    ]
    kernel, stride, _ = seen["stem_conv"]
    if channels != 3 or set(kernel) != {7} or set(stride) != {2}:
        padding = tuple(k // 2 for k in kernel)
        settings = f"{channels}, {WIDTHS[0]}, {kernel}, {stride}, {padding}, bias=False"
        lines.append(f"net.conv1 = torch.nn.Conv2d({settings})")
    lines += _patches(backbone, seen, library)
    return lines if classes else [*lines, f"net.{head} = torch.nn.Identity()"]


def _monai(
    library: str, backbone: ResNet, seen: dict[str, Seen], channels: int, classes: int, head: str
) -> list[str]:
    """MONAI's ResNet, for images and volumes."""
    kernel, stride, _ = seen["stem_conv"]
    layers, blocks = resnet.DEPTHS[backbone.depth]
    settings = {
        "block": {resnet.BASIC: "basic", resnet.BOTTLENECK: "bottleneck"}[layers],
        "layers": list(blocks),
        "block_inplanes": [backbone.channels(width) for width in WIDTHS],
        "spatial_dims": len(kernel),
        "n_input_channels": channels,
        "conv1_t_size": kernel,
        "conv1_t_stride": stride,
        **({"shortcut_type": "A"} if backbone.shortcut == "A" else {}),
        "no_max_pool": not resnet.STEMS[backbone.stem][2],
        **({"num_classes": classes} if classes else {"feed_forward": False}),
    }
    return [
        "import torch",
        "from monai.networks.nets.resnet import ResNet",
        "from safetensors.torch import load_file",
        "",
        "net = ResNet(",
        *(f"    {name}={value!r}," for name, value in settings.items()),
        ")",
        *_patches(backbone, seen, library),
    ]


def _vgg(
    library: str, backbone: VGG, seen: dict[str, Seen], channels: int, classes: int, head: str
) -> list[str]:
    """torchvision's or timm's VGG, with one linear layer behind the mean in place of three."""
    lines = [
        "import torch",
        "from safetensors.torch import load_file",
        f"from {library}.models.vgg import vgg{backbone.depth}_bn",
        "",
        f"net = vgg{backbone.depth}_bn()",
        "net.features = net.features[:-1]  # no pooling after the last stage",
    ]
    if channels != 3:
        lines.append(f"net.features[0] = torch.nn.Conv2d({channels}, 64, 3, padding=1)")
    for stage in range(2, 6):
        stride = _halved(*(seen[f"stage{s}_conv1"].space for s in (stage - 1, stage)))
        if set(stride) != {2}:
            place = pool_position(backbone.depth, stage)
            lines.append(f"net.features[{place}] = torch.nn.MaxPool2d({stride}, {stride})")
    layer = f"torch.nn.Linear(512, {classes})" if classes else "torch.nn.Identity()"
    if library == "timm":
        return [*lines, "net.pre_logits = torch.nn.Identity()", f"net.{head} = {layer}"]
    return [*lines, "net.avgpool = torch.nn.AdaptiveAvgPool2d(1)", f"net.{head} = {layer}"]


_BUILDERS: dict[tuple[str, type[nn.Module]], Callable[..., list[str]]] = {
    ("torchvision", ResNet): _resnet,
    ("timm", ResNet): _resnet,
    ("monai", ResNet): _monai,
    ("torchvision", VGG): _vgg,
    ("timm", VGG): _vgg,
}
