"""Jigsaw puzzles (Noroozi & Favaro 2016), in any number of dimensions."""

import dataclasses
import itertools
import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.models.heads import MLP, flatten_views, unflatten_views
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ops.intensity import Intensity, standardise_each
from assl_jax.permutations import max_min_hamming_permutations
from assl_jax.tasks.base import Batch, Metrics, accuracy

LEAST_TILE = 4


class PermutationHead(nn.Module):
    """Tile features concatenated in the order shown, one hidden layer, one logit a permutation."""

    classes: int
    hidden: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b k"]:
        z = features["pooled"]
        return MLP([self.hidden, self.classes])(z.reshape(z.shape[0], -1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jigsaw:
    """Classify by which permutation the tiles of an image were shuffled.

    Attributes:
      grid: cells per axis; 3 in 2D, 2 or 3 in 3D.
      permutations: number of classes, chosen for a large minimum Hamming distance.
      tile_fraction: tile side over cell side. Tiles lie at random inside their cells, so that the
        gap between neighbours is random and edges cannot be matched.
      hidden: width of the head's hidden layer.
      seed: breaks ties in the choice of permutations.
      intensity: how stored integers become unit intensities; tiles are standardised one by one.
    """

    name: ClassVar[str] = "jigsaw"
    grid: int = 3
    permutations: int = 100
    tile_fraction: float = 0.8
    hidden: int = 512
    seed: int = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        require(self.grid >= 2, f"task jigsaw: grid={self.grid} must be at least 2")
        require(
            0 < self.tile_fraction <= 1,
            f"task jigsaw: tile_fraction={self.tile_fraction} must be above 0 and at most 1",
        )

    def label_table(self, rank: int) -> np.ndarray:
        """The permutations `[K, grid**rank]`. Raises `InputError` where there are not so many."""
        tiles = self.grid**rank
        require(
            1 <= self.permutations <= math.factorial(tiles),
            f"task jigsaw: grid={self.grid} gives {tiles} tiles, permutations={self.permutations} "
            f"must be between 1 and {tiles}!; use a larger grid or fewer permutations",
        )
        return max_min_hamming_permutations(tiles, self.permutations, seed=self.seed)

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, grid**rank, *tile, c]` in shuffled order; targets `[b]` int32."""
        b, space = images.shape[0], images.shape[1:-1]
        cell = np.asarray(space) // self.grid
        tile = (cell * self.tile_fraction + 1e-6).astype(int)
        require(
            tile.min() >= LEAST_TILE,
            f"task jigsaw: images of {'x'.join(map(str, space))} give tiles of "
            f"{'x'.join(map(str, tile))}, at least {LEAST_TILE} per axis are needed; "
            "use larger images, a larger tile_fraction or a smaller grid",
        )
        cells = np.asarray(list(itertools.product(range(self.grid), repeat=len(space))))
        table = self.label_table(len(space))
        k_place, k_class, k_jitter = jax.random.split(rng, 3)
        label = jax.random.randint(k_class, (b,), 0, len(table))
        order = jnp.asarray(cells)[jnp.asarray(table)[label]]
        origin = random_starts(k_place, b, space, (cell * self.grid).tolist())
        room = jnp.asarray(cell - tile + 1)[None, None]
        jitter = jax.random.randint(k_jitter, order.shape, 0, room)
        tiles = cut(images, origin + order * cell[None, None] + jitter, tile.tolist())
        tiles = standardise_each(flatten_views(self.intensity.unit(tiles)))
        return Batch(unflatten_views(tiles, b), label)

    def head(self) -> nn.Module:
        return PermutationHead(classes=self.permutations, hidden=self.hidden)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        loss = losses.softmax_cross_entropy(outputs, batch.targets).mean()
        return loss, {"accuracy": accuracy(outputs, batch.targets)}
