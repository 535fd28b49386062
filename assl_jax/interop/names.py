"""What PyTorch libraries call the weights of our networks: the one table of names.

torchvision, timm and MONAI use the same names for a ResNet, and torchvision and timm for a VGG.
They differ in the name of the head.
"""

import re
from collections.abc import Iterable

import flax.linen as nn

from assl_jax.errors import lookup, require
from assl_jax.models import VGG, ResNet, vgg

# The linear layer behind the pooled features, by library and kind of network.
HEADS: dict[str, dict[type[nn.Module], str]] = {
    "torchvision": {ResNet: "fc", VGG: "classifier"},
    "timm": {ResNet: "fc", VGG: "head.fc"},
    "monai": {ResNet: "fc"},
}
COUNTER = "num_batches_tracked"  # PyTorch's BatchNorm has it; nothing reads it in evaluation mode

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_STEM = {"stem_conv": "conv1", "stem_bn": "bn1"}
_SHORTCUT = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}
_VGG_LAYER = ("conv", "bn", "relu")  # a layer of torchvision's `features` takes three places


def head_name(library: str, backbone: nn.Module) -> str:
    """What a library calls the head of a network."""
    heads = lookup(HEADS, library, "--format")
    kind = type(backbone)
    require(
        kind in heads,
        f"{library} has no counterpart of {kind.__name__}; use --format=safetensors or onnx",
    )
    return heads[kind]


def torch_name(backbone: nn.Module, path: tuple[str, ...]) -> str:
    """The key in the state_dict, such as "bn1.weight", of one of our arrays in a ResNet or a VGG.

    Its path inside "params" or "batch_stats" is one such as ("stem_bn", "scale").
    """
    *layer, leaf = path
    name = _vgg(backbone.depth, *layer) if isinstance(backbone, VGG) else _resnet(*layer)
    return f"{name}.{_LEAVES[leaf]}"


def has_bias(library: str, name: str) -> bool:
    """Whether a library's convolution of this name has a bias; ours have none."""
    return name.startswith("features.") or (library == "monai" and "downsample" in name)


def pool_position(depth: int, stage: int) -> int:
    """The place in torchvision's `features` of the pooling before a stage, 2 to 5, of a VGG."""
    layers = vgg.DEPTHS[depth][: stage - 1]
    return sum(len(_VGG_LAYER) * n + 1 for n in layers) - 1


def _resnet(first: str, second: str = "") -> str:
    if first in _STEM:
        return _STEM[first]
    stage, block = map(int, _numbers(first))
    return f"layer{stage}.{block - 1}.{_SHORTCUT.get(second, second)}"


def _vgg(depth: int, name: str) -> str:
    stage, layer = map(int, _numbers(name))
    begin = pool_position(depth, stage) + 1 if stage > 1 else 0
    kind = _VGG_LAYER.index(name.partition("_")[2].rstrip("0123456789"))
    return f"features.{begin + len(_VGG_LAYER) * (layer - 1) + kind}"


def _numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)


def is_foreign(names: Iterable[str]) -> bool:
    """Whether the names of a file are PyTorch's and not our own."""
    return not any(name.startswith(("params.", "batch_stats.")) for name in names)
