"""Backbones and heads.

A backbone maps standardised images `[b, *space, c]` to a mapping of feature maps by stage name,
plus `pooled` `[b, d]`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from assl_jax.errors import lookup, require
from assl_jax.models import resnet, vgg
from assl_jax.models.halving import suggest_delay
from assl_jax.models.resnet import ResNet
from assl_jax.models.side_by_side import SideBySide
from assl_jax.models.vgg import VGG

BACKBONES = {
    **{f"resnet{depth}": (ResNet, depth) for depth in resnet.DEPTHS},
    **{f"vgg{depth}": (VGG, depth) for depth in vgg.DEPTHS},
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

__all__ = ["BACKBONES", "DTYPES", "ResNet", "SideBySide", "VGG", "make_backbone", "suggest_delay"]


def make_backbone(
    name: str = "resnet18",
    *,
    width: float = 1.0,
    stem: str = "imagenet",
    dtype: str = "float32",
    delay: Sequence[int] = (),
    remat: bool = False,
    copies: int = 1,
) -> nn.Module:
    """A backbone by name.

    Args:
      name: one of `BACKBONES` (resnet10, resnet18, resnet34, vgg11, vgg13, vgg16).
      width: multiplier of all channel counts.
      stem: a key of `resnet.STEMS`; VGG has no stem and ignores it.
      dtype: compute dtype, "float32" or "bfloat16".
      delay: a tuple or list with one number per spatial axis: how many of the network's halvings
        leave that axis alone (see `ResNet`, `VGG` and `suggest_delay`); empty delays none. The
        backbone checks its length when it is called.
      remat: make activations again in the backward pass instead of keeping them, see `ResNet`. It
        moves results by no more than rounding; what is computed with it is a stage of its own.
      copies: more than 1 gives that many networks side by side, see `SideBySide`.

    Raises:
      InputError: an unknown name, stem or dtype (the nearest name is shown); a width or a delay out
        of range.
    """
    backbone, depth = lookup(BACKBONES, name, "backbone.name")
    kind = lookup(DTYPES, dtype, "backbone.dtype")
    require(width > 0, f"backbone.width={width} must be above 0")
    require(
        isinstance(delay, (tuple, list)) and all(type(d) is int and d >= 0 for d in delay),
        f"backbone.delay={delay!r} must hold one whole number from 0 up per axis, as in (3, 0, 0)",
    )
    delay = tuple(delay)
    common = {"depth": depth, "width": width, "delay": delay, "dtype": kind, "remat": remat}
    if backbone is ResNet:
        lookup(resnet.STEMS, stem, "backbone.stem")
        common["stem"] = stem
    network = backbone(**common)
    return network if copies == 1 else SideBySide(network, copies)
