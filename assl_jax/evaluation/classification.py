"""The target task: classification with few labels."""

import dataclasses
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from assl_jax.evaluation.finite import check_finite
from assl_jax.objectives.base import Batch, Member, Metrics
from assl_jax.ops.crop import random_flip, random_shift
from assl_jax.ops.intensity import Intensity
from assl_jax.ranges import Size, check
from assl_jax.tasks.base import classification_loss


class LinearHead(nn.Module):
    """One linear layer on the pooled features."""

    classes: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b k"]:
        return nn.Dense(self.classes)(features["pooled"][:, 0])


def probabilities(
    features: Float[np.ndarray, "n d"],
    kernel: Float[np.ndarray, "d k"],
    bias: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "n k"]:
    """Probabilities of the k classes from pooled features, float32.

    A row's result does not depend on the other rows: the products are summed in double precision
    and in order, while a BLAS may choose another order for another number of rows.

    Raises:
      NotFinite: a weight that is NaN, infinite or huge.
    """
    check_finite("weights of its linear head", kernel, bias)
    x, w = features.astype(np.float64), np.asarray(kernel, np.float64)
    logits = np.einsum("nd,dk->nk", x, w, optimize=False) + bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


class Labelled(NamedTuple):
    """The targets of a batch: classes, 0 to k - 1, and weights, see `classification_loss`."""

    labels: Int[Array, " b"]
    weights: Float[Array, " b"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to the images of a fine-tuning.

    Attributes:
      shift: largest random translation of a training image along each axis, in pixels.
      flip: mirror training images along the last spatial axis with probability 1/2.

    Raises:
      InputError: a number out of range.
    """

    shift: Size = 0
    flip: bool = False

    def __post_init__(self) -> None:
        check(self, "target.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(Member):
    """Fine-tuning with labels.

    Attributes:
      classes: number of classes.
      augmentation: of the training images.
      intensity: how stored integers become network inputs.
    """

    name: ClassVar[str] = "target"
    classes: int
    augmentation: Augmentation = Augmentation()
    intensity: Intensity = Intensity()

    def make_batch(self, rng: jax.Array, images: tuple[Shaped[Array, "b ..."], ...]) -> Batch:
        """Inputs `[b, 1, *space, c]` and `Labelled` targets from a batch of a feed.

        The arrays are stored integers `[b, *space, c]`, then the fields of `Labelled`.
        """
        x, *targets = images
        k_flip, k_shift = jax.random.split(rng)
        x = random_flip(k_flip, x) if self.augmentation.flip else x
        x = random_shift(k_shift, x, self.augmentation.shift)
        return Batch(self.intensity(x)[:, None], Labelled(*targets))

    def head(self) -> nn.Module:
        return LinearHead(classes=self.classes)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        return classification_loss(outputs, *batch.targets)
