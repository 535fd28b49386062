"""Jigsaw puzzles (Noroozi & Favaro 2016), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Shaped

from assl_jax.models.heads import MLP, flatten_views, unflatten_views
from assl_jax.ops.colour import random_grey
from assl_jax.ops.crop import random_flip
from assl_jax.ops.intensity import standardise_each
from assl_jax.ranges import Share
from assl_jax.tasks.base import Batch, Metrics, classification_loss
from assl_jax.tasks.puzzle_tiles import PuzzleTiles


class PermutationHead(nn.Module):
    """One hidden layer on the tile features, concatenated in the order shown."""

    classes: int
    hidden: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b k"]:
        z = features["pooled"]
        return MLP([self.hidden, self.classes])(z.reshape(z.shape[0], -1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jigsaw(PuzzleTiles):
    """Classify the permutation of an image's shuffled tiles.

    Attributes:
      grid: cells per axis; 3 in 2D, 2 or 3 in 3D.
      flip: mirror the image along the last spatial axis with probability 1/2.
      grey: probability of a greyscale image, for images with three channels. Without colours the
        network cannot go by the chromatic aberration of the lens.
      permutations, tile_fraction, hidden, seed: as in `PuzzleTiles`.
      intensity: how stored integers become unit intensities. Each tile is then standardised with
        its own mean and variance.
    """

    name: ClassVar[str] = "jigsaw"
    title: ClassVar[str] = "Jigsaw"
    short: ClassVar[str] = "Jig"
    summary: ClassVar[str] = (
        "Tiles of an image in a shuffled order. The network predicts the permutation."
    )
    colour: ClassVar[str] = "#A08000"

    flip: bool = True
    grey: Share = 2 / 3

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, grid**rank, *tile, c]` in shuffled order; targets `[b]` int32."""
        k_tiles, k_flip, k_grey = jax.random.split(rng, 3)
        images = random_flip(k_flip, images) if self.flip else images
        tiles, label = self.shuffled_tiles(k_tiles, images)
        tiles = self.intensity.unit(tiles)
        if images.shape[-1] == 3:
            tiles = random_grey(k_grey, tiles, probability=self.grey)
        tiles = standardise_each(flatten_views(tiles))
        return Batch(unflatten_views(tiles, images.shape[0]), label)

    def head(self) -> nn.Module:
        return PermutationHead(classes=self.permutations, hidden=self.hidden)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        return classification_loss(outputs, batch.targets)
