"""Sampling route classification (paper, section 2.1): global context."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from assl_jax import losses
from assl_jax.routes import sampling_routes
from assl_jax.tasks.base import Batch, Metrics, accuracy
from assl_jax.tasks.route_tiles import RouteTiles


class RouteHead(nn.Module):
    """Tile features concatenated in route order, then one linear layer."""

    seed: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b k"]:
        classes = len(sampling_routes(batch.inputs.ndim - 3, seed=self.seed))
        z = features["pooled"]
        return nn.Dense(classes)(z.reshape(z.shape[0], -1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SRC(RouteTiles):
    """Classify along which route the tiles were read: 24 classes in 2D, 48 in 3D."""

    name: ClassVar[str] = "src"

    def head(self) -> nn.Module:
        return RouteHead(seed=self.seed)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        loss = losses.softmax_cross_entropy(outputs, batch.targets).mean()
        return loss, {"accuracy": accuracy(outputs, batch.targets)}
