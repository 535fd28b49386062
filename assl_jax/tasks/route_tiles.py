"""Overlapping tiles read along a route: what src, mcpc and sc_assl have in common."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from assl_jax.errors import require
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.routes import sampling_routes
from assl_jax.tasks.base import Batch

LEAST_TILE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class RouteTiles:
    """Tiles of a random crop along a random sampling route (paper, sections 2 and 2.3).

    The crop has side 2t and 3 tiles of side t per axis, at stride t/2 (50 % overlap). A route is a
    monotone path of tiles from one corner to the opposite one: 5 tiles and 24 routes in 2D; 7 tiles
    and 720 routes in 3D, of which 6 per corner are drawn once with `seed`.

    Attributes:
      crop_fraction: crop side over image side, rounded down to an even tile; 96 gives t = 40.
      seed: draws the 3D routes.
      intensity: how stored integers become network inputs.
    """

    crop_fraction: float = 5 / 6
    seed: int = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        require(
            0 < self.crop_fraction <= 1,
            f"tasks src, mcpc and sc_assl: crop_fraction={self.crop_fraction} must be above 0 "
            "and at most 1",
        )

    def label_table(self, rank: int) -> np.ndarray:
        """The routes `[K, m, rank]`; the label of a batch's example is its row."""
        return sampling_routes(rank, seed=self.seed)

    def tile_sides(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Tile side per axis. Raises `InputError` where an image is too small."""
        sides = tuple(2 * int(self.crop_fraction * n / 4 + 1e-6) for n in space)
        require(
            min(sides) >= LEAST_TILE,
            f"tasks src, mcpc and sc_assl: images of {_by(space)} give tiles of {_by(sides)}, "
            f"at least {LEAST_TILE} per axis are needed; use larger images or crop_fraction",
        )
        return sides

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, m, *tile, c]` in route order; targets `[b]` int32 routes."""
        b, space = images.shape[0], images.shape[1:-1]
        sides = self.tile_sides(space)
        routes = self.label_table(len(space))
        k_route, k_crop = jax.random.split(rng)
        route = jax.random.randint(k_route, (b,), 0, len(routes))
        corner = random_starts(k_crop, b, space, [2 * t for t in sides])
        half = np.asarray(sides)[None, None] // 2
        tiles = cut(images, corner + jnp.asarray(routes)[route] * half, sides)
        return Batch(self.intensity(tiles), route)


def _by(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))
