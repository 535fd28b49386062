"""Backbones and heads.

A backbone maps standardised images `[b, *space, c]` to a mapping of feature maps by stage name,
plus `pooled` `[b, d]`.
"""

import flax.linen as nn
import jax.numpy as jnp

from assl_jax.errors import lookup, require
from assl_jax.models import resnet, vgg
from assl_jax.models.resnet import ResNet
from assl_jax.models.vgg import VGG

BACKBONES = {
    **{f"resnet{depth}": (ResNet, depth) for depth in resnet.DEPTHS},
    **{f"vgg{depth}": (VGG, depth) for depth in vgg.DEPTHS},
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

__all__ = ["BACKBONES", "DTYPES", "ResNet", "VGG", "make_backbone"]


def make_backbone(
    name: str = "resnet18", *, width: float = 1.0, stem: str = "imagenet", dtype: str = "float32"
) -> nn.Module:
    """A backbone by name.

    Args:
      name: one of `BACKBONES` (resnet10, resnet18, resnet34, vgg11, vgg13, vgg16).
      width: multiplier of all channel counts.
      stem: a key of `resnet.STEMS`; VGG has no stem and ignores it.
      dtype: compute dtype, "float32" or "bfloat16".

    Raises:
      InputError: an unknown name, stem or dtype; the nearest name is shown.
    """
    backbone, depth = lookup(BACKBONES, name, "backbone.name")
    kind = lookup(DTYPES, dtype, "backbone.dtype")
    require(width > 0, f"backbone.width={width} must be above 0")
    if backbone is VGG:
        return VGG(depth=depth, width=width, dtype=kind)
    lookup(resnet.STEMS, stem, "backbone.stem")
    return ResNet(depth=depth, width=width, stem=stem, dtype=kind)
