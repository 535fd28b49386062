"""Contrastive predictive coding (Hénaff et al. 2019), in any number of dimensions."""

import dataclasses
import itertools
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks.base import Batch, Metrics, accuracy
from assl_jax.tasks.route_tiles import LEAST_TILE


class ContextHead(nn.Module):
    """Each line of patches read by a GRU, and the features ahead predicted from its states."""

    grid: int
    steps: int
    hidden: int

    @nn.compact
    def __call__(
        self, features: dict, batch: Batch
    ) -> tuple[list[Float[Array, "n t d"]], Float[Array, "n grid d"]]:
        """Predictions for 1, 2, ... steps ahead, and the features, of all lines of all images.

        Entry `[n, t]` of the k-th prediction stands for the features `[n, t + k]`.
        """
        z = features["pooled"]
        b, _, d = z.shape
        lines = z.reshape(b, self.grid, -1, d).swapaxes(1, 2).reshape(-1, self.grid, d)
        read = lines[:, :-1]  # nothing is predicted from a whole line
        context: Any = nn.RNN(nn.GRUCell(self.hidden or d), unroll=read.shape[1])(read)
        ahead = range(1, self.steps + 1)
        return [nn.Dense(d)(context[:, : self.grid - k]) for k in ahead], lines


@dataclasses.dataclass(frozen=True, kw_only=True)
class CPC:
    """Recognise the features of patches further on among those of other places and images.

    A random crop is cut into `grid` patches of side 2s per axis at stride s (50 % overlap). A line
    runs along the first spatial axis: a column of an image from top to bottom, one of a volume from
    the bottom slice upwards. From what was read of a line up to a patch, a linear map for each k
    predicts the features k patches on. For each k, a prediction's negatives are all other patches
    that are k steps ahead of some context, in the other lines and images of the mini-batch and at
    other places of its own line: n = b * grid**(rank - 1) * (grid - k) queries, n x n logits.

    Attributes:
      grid: patches per axis. The backbone sees grid**rank of them for each image.
      steps: how many patches ahead, below `grid`. The first shares half of its pixels with the
        last patch read, the others none.
      crop_fraction: crop side over image side, rounded down to an even patch side.
      hidden: width of the GRU; 0 takes the features' own.
      intensity: how stored integers become network inputs.

    Deviations: a GRU along each line instead of masked convolutions, which also see the lines
    beside it; one reading direction instead of four; no augmentation of single patches; the keys
    are the features themselves, and the dot products are divided by the root of the features'
    width, so that the logits are of order 1 before training; the backbone's normalisation is
    whatever it has, where the paper takes layer normalisation.
    """

    name: ClassVar[str] = "cpc"
    grid: int = 3
    steps: int = 2
    crop_fraction: float = 5 / 6
    hidden: int = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        require(
            1 <= self.steps < self.grid,
            f"task cpc: steps={self.steps} must be at least 1 and below grid={self.grid}",
        )
        require(
            0 < self.crop_fraction <= 1,
            f"task cpc: crop_fraction={self.crop_fraction} must be above 0 and at most 1",
        )

    def label_table(self, rank: int) -> None:
        return None

    def patch_sides(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Patch side per axis. Raises `InputError` where an image is too small."""
        sides = tuple(2 * int(self.crop_fraction * n / (self.grid + 1) + 1e-6) for n in space)
        require(
            min(sides) >= LEAST_TILE,
            f"task cpc: images of {'x'.join(map(str, space))} give patches of "
            f"{'x'.join(map(str, sides))}, at least {LEAST_TILE} per axis are needed; "
            "use larger images, a larger crop_fraction or a smaller grid",
        )
        return sides

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, grid**rank, *patch, c]`, the last axis of the grid fastest; no targets."""
        b, space = images.shape[0], images.shape[1:-1]
        sides = self.patch_sides(space)
        stride = np.asarray(sides) // 2
        corner = random_starts(rng, b, space, ((self.grid + 1) * stride).tolist())
        cells = np.asarray(list(itertools.product(range(self.grid), repeat=len(space))))
        patches = cut(images, corner + jnp.asarray(cells * stride)[None], sides)
        return Batch(self.intensity(patches), ())

    def head(self) -> nn.Module:
        return ContextHead(grid=self.grid, steps=self.steps, hidden=self.hidden)

    def loss(self, outputs: tuple[list[Array], Array], batch: Batch) -> tuple[Array, Metrics]:
        """The mean over the steps of each one's mean; so is the share of right guesses."""
        predictions, lines = outputs
        width = lines.shape[-1]
        values, hits = [], []
        for k, prediction in enumerate(predictions, 1):
            queries, keys = prediction.reshape(-1, width), lines[:, k:].reshape(-1, width)
            values.append(losses.info_nce(queries, keys, temperature=width**0.5).mean())
            scores = jnp.matmul(queries, keys.T, precision=jax.lax.Precision.HIGHEST)
            hits.append(accuracy(scores, jnp.arange(len(queries))))
        return jnp.stack(values).mean(), {"accuracy": jnp.stack(hits).mean()}
