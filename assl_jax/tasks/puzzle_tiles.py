"""Separate tiles in a shuffled order, the puzzle of jigsaw and rubiks_cube."""

import dataclasses
import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from assl_jax.errors import require
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.permutations import MOST_TILES, max_min_hamming_permutations
from assl_jax.ranges import Portion, Range, Seed, Width
from assl_jax.tasks.base import ProxyTask
from assl_jax.tasks.tiles import all_cells, require_tile_sides

MOST = 2000  # permutations; more take minutes to choose


@dataclasses.dataclass(frozen=True, kw_only=True)
class PuzzleTiles(ProxyTask):
    """One tile from each cell of a grid, shuffled by one permutation of a fixed set.

    Attributes:
      grid: cells per axis.
      permutations: number of permutations in the set, which are the classes, at most 2,000.
      tile_fraction: tile side over cell side. A tile lies at a random position in its cell. The
        random gaps keep the network from matching the edges of neighbouring tiles.
      hidden: width of the head's hidden layer.
      seed: of the choice among equally good permutations.
      intensity: how stored integers become network inputs.
    """

    grid: Annotated[int, Range(at_least=2)] = 3
    permutations: Annotated[int, Range(at_least=1, at_most=MOST)] = 100
    tile_fraction: Portion = 0.8
    hidden: Width = 512
    seed: Seed = 0
    intensity: Intensity = Intensity()

    def label_table(self, rank: int) -> np.ndarray:
        """The permutations `[K, grid**rank]`; a label is a row.

        Raises:
          InputError: too many tiles, or more permutations than the tiles have.
        """
        tiles = self.grid**rank
        require(
            tiles <= MOST_TILES,
            f"task {self.name}: grid={self.grid} gives {tiles} tiles; use a grid of at most "
            f"{int(MOST_TILES ** (1 / rank))}",
        )
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
        """Stored tiles `[b, grid**rank, *tile, c]` in shuffled order, and labels `[b]`.

        Raises:
          InputError: images that are too small.
        """
        b, space = images.shape[0], images.shape[1:-1]
        table = self.label_table(len(space))
        cell = np.asarray(space) // self.grid
        tile = (cell * self.tile_fraction + 1e-6).astype(int)
        advice = "a larger tile_fraction or a smaller grid"
        require_tile_sides(self.name, space, tile.tolist(), advice=advice)
        k_origin, k_class, k_jitter = jax.random.split(rng, 3)
        label = jax.random.randint(k_class, (b,), 0, len(table))
        order = jnp.asarray(all_cells(self.grid, len(space)))[jnp.asarray(table)[label]]
        origin = random_starts(k_origin, b, space, (cell * self.grid).tolist())
        room = jnp.asarray(cell - tile + 1)[None, None]
        jitter = jax.random.randint(k_jitter, order.shape, 0, room)
        starts = origin + order * cell[None, None] + jitter
        return cut(images, starts, tile.tolist()), label
