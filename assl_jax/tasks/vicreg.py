"""VICReg (Bardes, Ponce and LeCun 2022), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax import losses
from assl_jax.models.heads import NormalisedMLP
from assl_jax.ranges import NonNegative, Size
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.two_views import TwoViews


class Expander(nn.Module):
    """Three linear layers, with batch normalisation and ReLU between them."""

    width: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b 2 d"]:
        z = features["pooled"]
        width = self.width or 4 * z.shape[-1]
        return NormalisedMLP([width, width, width])(z)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VICReg(TwoViews):
    """Predict the same for both views, with varied and uncorrelated components.

    The loss needs no negatives: the variance term keeps the network from predicting a constant
    (arXiv 2105.04906, Eq. 6, with its weights).

    Attributes:
      invariance, variance, covariance: weights of the three terms.
      width: of the expander's layers; 0 means four times the width of the features. The source has
        8,192 for features of 2,048.
      crop_scale, jitter, grey, blur, flip, intensity: as in `TwoViews`.
    """

    name: ClassVar[str] = "vicreg"
    title: ClassVar[str] = "VICReg"
    short: ClassVar[str] = "VIC"
    summary: ClassVar[str] = (
        "Two random views of each image. The network predicts the same varied, uncorrelated "
        "numbers for both."
    )
    colour: ClassVar[str] = "#AA4499"
    invariance: NonNegative = 25.0
    variance: NonNegative = 25.0
    covariance: NonNegative = 1.0
    width: Size = 0

    def head(self) -> nn.Module:
        return Expander(width=self.width)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        views = outputs[:, 0], outputs[:, 1]
        invariance = jnp.mean((views[0] - views[1]) ** 2)
        # The source adds the variance terms of the two views with half of the weight each, and the
        # covariance terms with the whole weight.
        variance = jnp.stack([losses.variance_hinge(z).mean() for z in views]).mean()
        covariance = jnp.stack([losses.covariance_penalty(z) for z in views]).sum()
        total = (
            self.invariance * invariance + self.variance * variance + self.covariance * covariance
        )
        metrics = {"invariance": invariance, "variance": variance, "covariance": covariance}
        return total, metrics
