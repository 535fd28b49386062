"""Sampling route classification (paper, section 2.1): global context."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from assl_jax.routes import sampling_routes
from assl_jax.tasks.base import Batch, Metrics, classification_loss
from assl_jax.tasks.route_tiles import RouteTiles


class RouteHead(nn.Module):
    """One linear layer on the tile features, concatenated in route order."""

    seed: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b k"]:
        classes = len(sampling_routes(batch.inputs.ndim - 3, seed=self.seed))
        z = features["pooled"]
        return nn.Dense(classes)(z.reshape(z.shape[0], -1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SRC(RouteTiles):
    """Classify the sampling route of the tiles: 24 classes in 2D, 48 in 3D.

    Attributes:
      crop_fraction, overlap, jitter, seed, intensity: as in `RouteTiles`.
    """

    name: ClassVar[str] = "src"
    title: ClassVar[str] = "SRC"
    summary: ClassVar[str] = (
        "Overlapping tiles along a sampling route. The network predicts which route it is."
    )
    colour: ClassVar[str] = "#0072B2"

    def head(self) -> nn.Module:
        return RouteHead(seed=self.seed)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        return classification_loss(outputs, batch.targets)
