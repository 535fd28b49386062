"""Tiles apart from one another in a shuffled order: what jigsaw and rubiks_cube have in common."""

import dataclasses
import itertools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from assl_jax.errors import require
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.permutations import max_min_hamming_permutations
from assl_jax.tasks.route_tiles import LEAST_TILE


@dataclasses.dataclass(frozen=True, kw_only=True)
class PuzzleTiles:
    """One tile from every cell of a grid, shuffled by one of a set of permutations.

    Attributes:
      grid: cells per axis.
      permutations: number of classes, chosen for a large minimum Hamming distance.
      tile_fraction: tile side over cell side. Tiles lie at random inside their cells, so that the
        gap between neighbours is random and edges cannot be matched.
      hidden: width of the head's hidden layer.
      seed: breaks ties in the choice of permutations.
      intensity: how stored integers become network inputs.
    """

    name: ClassVar[str]
    grid: int = 3
    permutations: int = 100
    tile_fraction: float = 0.8
    hidden: int = 512
    seed: int = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        require(self.grid >= 2, f"task {self.name}: grid={self.grid} must be at least 2")
        require(
            0 < self.tile_fraction <= 1,
            f"task {self.name}: tile_fraction={self.tile_fraction} must be above 0 and at most 1",
        )

    def label_table(self, rank: int) -> np.ndarray:
        """The permutations `[K, grid**rank]`. Raises `InputError` where there are not so many."""
        tiles = self.grid**rank
        require(
            1 <= self.permutations <= math.factorial(tiles),
            f"task {self.name}: grid={self.grid} gives {tiles} tiles, "
            f"permutations={self.permutations} must be between 1 and {tiles}!; "
            "use a larger grid or fewer permutations",
        )
        return max_min_hamming_permutations(tiles, self.permutations, seed=self.seed)

    def shuffled_tiles(
        self, rng: jax.Array, images: Shaped[Array, "b *space c"]
    ) -> tuple[Shaped[Array, "b v *tile c"], Int[Array, " b"]]:
        """Stored tiles `[b, grid**rank, *tile, c]` as they are shown, and rows of `label_table`.

        Raises `InputError` where an image is too small.
        """
        b, space = images.shape[0], images.shape[1:-1]
        table = self.label_table(len(space))
        cell = np.asarray(space) // self.grid
        tile = (cell * self.tile_fraction + 1e-6).astype(int)
        require(
            tile.min() >= LEAST_TILE,
            f"task {self.name}: images of {'x'.join(map(str, space))} give tiles of "
            f"{'x'.join(map(str, tile))}, at least {LEAST_TILE} per axis are needed; "
            "use larger images, a larger tile_fraction or a smaller grid",
        )
        cells = np.asarray(list(itertools.product(range(self.grid), repeat=len(space))))
        k_place, k_class, k_jitter = jax.random.split(rng, 3)
        label = jax.random.randint(k_class, (b,), 0, len(table))
        order = jnp.asarray(cells)[jnp.asarray(table)[label]]
        origin = random_starts(k_place, b, space, (cell * self.grid).tolist())
        room = jnp.asarray(cell - tile + 1)[None, None]
        jitter = jax.random.randint(k_jitter, order.shape, 0, room)
        starts = origin + order * cell[None, None] + jitter
        return cut(images, starts, tile.tolist()), label
