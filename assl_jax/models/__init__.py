"""Backbones and heads.

A backbone maps standardised images `[b, *space, c]` to feature maps by name, see `Backbone`.
`BACKBONES` holds those of this package. Other packages add theirs by entry points of `GROUP`, see
`plugins`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from assl_jax import plugins
from assl_jax.errors import require
from assl_jax.models import resnet, vgg
from assl_jax.models.base import Backbone
from assl_jax.models.halving import suggest_delay
from assl_jax.models.resnet import ResNet
from assl_jax.models.side_by_side import SideBySide
from assl_jax.models.vgg import VGG
from assl_jax.ranges import Names, OneOf, Range, check


class Entry(NamedTuple):
    """A backbone in `BACKBONES`.

    Attributes:
      title: for readers.
      module: its class; a `Backbone`. Its fields are the settings that it takes.
      fixed: fields that the name decides.
      ignored: settings of `BackboneSettings` that have no meaning for it. They may have any value,
        because a run compares several backbones with the same settings.
    """

    title: str
    module: type[nn.Module]
    fixed: Mapping[str, Any] = {}
    ignored: Sequence[str] = ()


BACKBONES = {
    **{f"resnet{n}": Entry(f"ResNet-{n}", ResNet, {"depth": n}) for n in resnet.DEPTHS},
    # As MONAI's `shortcut_type="A"`.
    **{
        f"resnet{n}a": Entry(f"ResNet-{n}A", ResNet, {"depth": n, "shortcut": "A"})
        for n in resnet.DEPTHS
    },
    **{f"vgg{n}": Entry(f"VGG-{n}", VGG, {"depth": n}, ignored=("stem",)) for n in vgg.DEPTHS},
}
GROUP = "assl_jax.backbones"
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

__all__ = [
    "BACKBONES",
    "DTYPES",
    "GROUP",
    "Backbone",
    "BackboneSettings",
    "Entry",
    "ResNet",
    "SideBySide",
    "VGG",
    "backbone_entry",
    "fixed_elsewhere",
    "make_backbone",
    "suggest_delay",
    "takes",
]


def backbone_entry(name: str) -> Entry:
    """The entry of a backbone of `BACKBONES`, of another package, or of `module:Class`.

    The module may also hold an `Entry`. A class alone is an entry that ignores the setting `stem`.
    """
    found = plugins.load(BACKBONES, name, "backbone.name", GROUP)
    if isinstance(found, Entry):
        return found
    require(
        isinstance(found, type) and issubclass(found, nn.Module),
        f"backbone.name={name!r} must be a Flax module or an assl_jax.models.Entry",
    )
    return Entry(found.__name__, found, ignored=("stem",))


def takes(name: str, setting: str) -> bool:
    """Whether the backbone called `name` has a field for a setting, or ignores the setting."""
    entry = backbone_entry(name)
    return setting in {field.name for field in dataclasses.fields(entry.module)} | {*entry.ignored}


def fixed_elsewhere(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the entry of a backbone from another package fixes; {} for `BACKBONES`.

    They are part of what determines a network, and may change with the other package.
    """
    name = settings.get("name", "")
    return {} if not name or name in BACKBONES else dict(backbone_entry(name).fixed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """Which backbone, and its form.

    Attributes:
      name: the network: one of `BACKBONES`, of another package, or `module:Class`.
      width: multiplier of all channel counts, at most 16.
      stem: first layers of a ResNet, a key of `resnet.STEMS`; VGG has no stem and ignores it.
      dtype: compute dtype, "float32" or "bfloat16".
      delay: a tuple or list with one number per spatial axis: how many of the network's halvings
        leave that axis unchanged (see `ResNet`, `VGG` and `suggest_delay`); empty delays none. The
        backbone checks the length when it is called.
      remat: recompute activations in the backward pass instead of keeping them, see `ResNet`.
        Results change by no more than rounding, but a run with it does not share stages with a run
        without.

    Raises:
      InputError: an unknown dtype (the nearest name is shown); a width or a delay out of range.
    """

    name: Annotated[str, Names(BACKBONES)] = "resnet18"
    width: Annotated[float, Range(above=0, at_most=16)] = 1.0
    stem: Annotated[str, Names(resnet.STEMS)] = "imagenet"
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"
    delay: Sequence[int] = ()
    remat: bool = False

    def __post_init__(self) -> None:
        check(self, "backbone.")
        require(
            isinstance(self.delay, (tuple, list))
            and all(type(d) is int and d >= 0 for d in self.delay),
            f"backbone.delay={self.delay!r} must hold one whole number from 0 up per axis, as in "
            "(3, 0, 0)",
        )

    def module(self) -> nn.Module:
        """The network; an `InputError` for a setting that this backbone does not take."""
        entry = backbone_entry(self.name)
        given = {**vars(self), "delay": tuple(self.delay)}
        del given["name"]
        fields = {field.name for field in dataclasses.fields(entry.module)}
        for setting in given:
            require(
                setting in fields | {*entry.ignored}
                or given[setting] == getattr(BackboneSettings, setting),
                f"backbone.{setting}={given[setting]!r} has no meaning for {self.name}; leave it "
                "out",
            )
        values = {**given, "dtype": DTYPES[self.dtype]}
        taken = {setting: values[setting] for setting in given if setting in fields}
        return entry.module(**taken, **entry.fixed)


def make_backbone(name: str = "resnet18", *, copies: int = 1, **settings: Any) -> nn.Module:
    """A backbone by name.

    Args:
      name, settings: as in `BackboneSettings`.
      copies: more than 1 gives that many networks side by side, see `SideBySide`.

    Raises:
      InputError: an unknown name, stem or dtype (the nearest name is shown); a width or a delay out
        of range; a setting that this backbone does not take.
    """
    network = BackboneSettings(name=name, **settings).module()
    return network if copies == 1 else SideBySide(network, copies)
