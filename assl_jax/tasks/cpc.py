"""Contrastive predictive coding (Hénaff et al. 2019), in any number of dimensions."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.ops.intensity import Intensity
from assl_jax.ranges import Count, Portion, Size
from assl_jax.tasks.base import Batch, Metrics, ProxyTask, accuracy
from assl_jax.tasks.tiles import TileGrid, all_cells, cut_tiles, tile_grid


class ContextHead(nn.Module):
    """A GRU reads each line of patches; linear maps predict the next features from its states."""

    grid: int
    steps: int
    hidden: int

    @nn.compact
    def __call__(
        self, features: dict, batch: Batch
    ) -> tuple[list[Float[Array, "n t d"]], Float[Array, "n grid d"]]:
        """Predictions for 1, 2, ... steps ahead, and the features, of all lines of all images.

        Entry `[n, t]` of the k-th prediction is a guess of the features `[n, t + k]`.
        """
        z = features["pooled"]
        b, _, d = z.shape
        lines = z.reshape(b, self.grid, -1, d).swapaxes(1, 2).reshape(-1, self.grid, d)
        read = lines[:, :-1]  # after the last patch nothing is left to predict
        context: Any = nn.RNN(nn.GRUCell(self.hidden or d), unroll=read.shape[1])(read)
        ahead = range(1, self.steps + 1)
        return [nn.Dense(d)(context[:, : self.grid - k]) for k in ahead], lines


@dataclasses.dataclass(frozen=True, kw_only=True)
class CPC(ProxyTask):
    """Predict the features of the next patches of a line, and tell them from other patches.

    A random crop is divided into `grid` patches per axis. Neighbouring patches overlap by
    `tiles.OVERLAP` of their side. A line of patches runs along the first spatial axis: from top to
    bottom in an image, from the bottom slice upwards in a volume. After each patch of a line, a
    linear map for each k predicts the features k patches ahead. The negatives of a prediction are
    all other patches that are k steps ahead of some context: in the same line, in other lines and
    in other images of the mini-batch. That gives n = b * grid**(rank - 1) * (grid - k) queries and
    n x n logits for each k.

    Attributes:
      grid: patches per axis; the backbone sees grid**rank patches of each image.
      steps: largest k, below `grid`. The patch at k = 1 overlaps with the last patch read.
      crop_fraction: crop side over image side; the patch's side is rounded down, see `tile_grid`.
      hidden: width of the GRU; 0 means the width of the features.
      intensity: how stored integers become network inputs.

    Deviations: a GRU along each line replaces masked convolutions, which also see neighbouring
    lines. One reading direction replaces four. Single patches are not augmented. The keys are the
    features themselves. The dot products are divided by the root of the features' width, which
    gives logits of order 1 before training. The paper uses layer normalisation; this task keeps the
    backbone's own normalisation.
    """

    name: ClassVar[str] = "cpc"
    title: ClassVar[str] = "CPC"
    summary: ClassVar[str] = (
        "Overlapping patches in lines. The network predicts the features of the next patches of a "
        "line from the patches before them."
    )
    colour: ClassVar[str] = "#601070"
    grid: Count = 3
    steps: Count = 2
    crop_fraction: Portion = 5 / 6
    hidden: Size = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.steps < self.grid,
            f"task.cpc.steps={self.steps} must be below task.cpc.grid={self.grid}",
        )

    def patches(self, space: tuple[int, ...]) -> TileGrid:
        """The patches of an image. Raises `InputError` if the image is too small."""
        return tile_grid(
            self.name,
            space,
            crop_fraction=self.crop_fraction,
            tiles=self.grid,
            advice="a larger crop_fraction or a smaller grid",
        )

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, grid**rank, *patch, c]`, the last axis of the grid fastest; no targets."""
        space = images.shape[1:-1]
        cells = jnp.asarray(all_cells(self.grid, len(space)))[None]
        return Batch(self.intensity(cut_tiles(rng, images, cells, self.patches(space))), ())

    def head(self) -> nn.Module:
        return ContextHead(grid=self.grid, steps=self.steps, hidden=self.hidden)

    def loss(self, outputs: tuple[list[Array], Array], batch: Batch) -> tuple[Array, Metrics]:
        """The mean over k of the mean loss at each k; the accuracy is averaged in the same way."""
        predictions, lines = outputs
        width = lines.shape[-1]
        values, hits = [], []
        for k, prediction in enumerate(predictions, 1):
            queries, keys = prediction.reshape(-1, width), lines[:, k:].reshape(-1, width)
            values.append(losses.info_nce(queries, keys, temperature=width**0.5).mean())
            scores = jnp.matmul(queries, keys.T, precision=jax.lax.Precision.HIGHEST)
            hits.append(accuracy(scores, jnp.arange(len(queries))))
        return jnp.stack(values).mean(), {"accuracy": jnp.stack(hits).mean()}
