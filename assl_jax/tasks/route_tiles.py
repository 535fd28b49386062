"""Overlapping tiles along a sampling route, the batch of src, mcpc and sc_assl."""

import dataclasses
from fractions import Fraction
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.ops.colour import colour_jitter
from assl_jax.ops.intensity import Intensity
from assl_jax.ranges import NonNegative, Portion, Range, Seed
from assl_jax.routes import TILES_PER_AXIS, sampling_routes
from assl_jax.tasks.base import Batch, ProxyTask
from assl_jax.tasks.tiles import OVERLAP, TileGrid, cut_tiles, tile_grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class RouteTiles(ProxyTask):
    """Tiles of a random crop along a random sampling route (paper, sections 2 and 2.3).

    A crop holds 3 overlapping tiles per axis. A route is a monotone path of tiles from one corner
    of the crop to the opposite corner. In 2D a route has 5 tiles, and there are 24 routes. In 3D it
    has 7 tiles; 48 of the 720 routes are used, 6 per corner.

    Attributes:
      crop_fraction: crop side over image side; the tile's side is rounded down, see `tile_grid`.
      overlap: of neighbouring tiles, as a share of the tile's side, at least 0 and below 1. It is
        rounded to a fraction with a denominator of 16 at most.
      jitter: strength of a random change of brightness and contrast of each tile; 0 changes
        nothing. Without it, the brightness of a tile tells much about its neighbours' (CPC v2,
        Hénaff et al. 2019).
      seed: of the draw of the 3D routes.
      intensity: how stored integers become network inputs.
    """

    crop_fraction: Portion = 5 / 6
    overlap: Annotated[float, Range(at_least=0, below=1)] = float(OVERLAP)
    jitter: NonNegative = 0.0
    seed: Seed = 0
    intensity: Intensity = Intensity()

    def label_table(self, rank: int) -> np.ndarray:
        """The routes `[K, m, rank]`; a label is a row."""
        return sampling_routes(rank, seed=self.seed)

    def grid(self, space: tuple[int, ...]) -> TileGrid:
        """The tiles of an image. Raises `InputError` if the image is too small."""
        return tile_grid(
            self.name,
            space,
            crop_fraction=self.crop_fraction,
            tiles=TILES_PER_AXIS,
            overlap=min(Fraction(self.overlap).limit_denominator(16), Fraction(15, 16)),
            advice="a larger crop_fraction",
        )

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, m, *tile, c]` in route order; targets `[b]` int32, the routes."""
        space = images.shape[1:-1]
        grid, routes = self.grid(space), self.label_table(len(space))
        k_route, k_crop, k_jitter = jax.random.split(rng, 3)
        route = jax.random.randint(k_route, images.shape[:1], 0, len(routes))
        tiles = cut_tiles(k_crop, images, jnp.asarray(routes)[route], grid)
        tiles = self.intensity.unit(tiles)
        if self.jitter:
            changed = colour_jitter(
                k_jitter,
                flatten_views(tiles),
                brightness=self.jitter,
                contrast=self.jitter,
                saturation=0.0,
                hue=0.0,
            )
            tiles = unflatten_views(changed, len(images))
        return Batch(self.intensity.standardise(tiles), route)
