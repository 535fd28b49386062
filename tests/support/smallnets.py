"""The networks of `examples/` without BatchNorm, small; `examples` must be importable."""

from convnext import ConvNeXt
from vit import ViT

from assl_jax.models import Entry

CONVNEXT = Entry("ConvNeXt", ConvNeXt, {"blocks": (1, 1), "patch": 2, "kernel": 3}, ["stem"])
VIT = Entry("ViT", ViT, {"blocks": 1, "heads": 2, "patch": 8, "grid": 2}, ["stem"])
