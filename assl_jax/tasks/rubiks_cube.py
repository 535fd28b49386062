"""Rubik's cube recovery (Zhuang et al. 2019), on volumes."""

import dataclasses
from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.ops.rotate import Rotation, rotate
from assl_jax.ranges import NonNegative, Range
from assl_jax.tasks.base import Batch, Metrics, accuracy
from assl_jax.tasks.puzzle_tiles import PuzzleTiles

# About the first axis and about the last. Both together make a half turn about the middle axis.
HALF_TURNS: tuple[Rotation, ...] = (((1, 2), 2), ((0, 1), 2))


class RubiksCubeHead(nn.Module):
    """One hidden layer on the cube features in the order shown, then two linear layers."""

    classes: int
    hidden: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> dict[str, Float[Array, "b ..."]]:
        """Logits: `permutation` `[b, k]` and `turns` `[b, v, 2]`."""
        z = features["pooled"]
        b, cubes, _ = z.shape
        x = nn.relu(nn.Dense(self.hidden, name="shared")(z.reshape(b, -1)))
        turns = nn.Dense(cubes * len(HALF_TURNS), name="turns")(x)
        return {
            "permutation": nn.Dense(self.classes, name="permutation")(x),
            "turns": turns.reshape(b, cubes, len(HALF_TURNS)),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class RubiksCube(PuzzleTiles):
    """Classify the permutation of a volume's cubes, and the half turns of each cube.

    The cubes are cut and shuffled as the tiles of a jigsaw. Each cube is turned by 180 degrees
    about the first axis with probability 1/2 and, independently, about the last axis with
    probability 1/2. Half turns keep the shape of every box.

    Attributes:
      grid: cubes per axis.
      permutations, tile_fraction, hidden, seed: as in `PuzzleTiles`.
      permutation_weight, turn_weight: factors of the two losses, at least 0; 0.5 each in that
        paper.
      intensity: how stored integers become network inputs. Cubes are not standardised one by one,
        so they keep their differences in intensity; a jigsaw's tiles lose them.
    """

    name: ClassVar[str] = "rubiks_cube"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    title: ClassVar[str] = "Rubik's cube"
    short: ClassVar[str] = "Cube"
    summary: ClassVar[str] = (
        "Shuffled cubes of a volume, some of them turned by 180 degrees. The network predicts the "
        "permutation and the turns."
    )
    colour: ClassVar[str] = "#2200CC"
    grid: Annotated[int, Range(at_least=2)] = 2
    permutation_weight: NonNegative = 0.5
    turn_weight: NonNegative = 0.5

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, grid**3, *cube, c]`, shuffled and turned.

        Targets: "permutation" `[b]` int32; "turns" `[b, grid**3, 2]` booleans, one pair per cube in
        the order shown.
        """
        k_tiles, k_turns = jax.random.split(rng)
        cubes, permutation = self.shuffled_tiles(k_tiles, images)
        turns = jax.random.bernoulli(k_turns, 0.5, (*cubes.shape[:2], len(HALF_TURNS)))
        flat = flatten_views(cubes)
        for axis, half_turn in enumerate(HALF_TURNS):
            turn = turns[..., axis].reshape(-1, *(1,) * (flat.ndim - 1))
            flat = jnp.where(turn, rotate(flat, half_turn), flat)
        inputs = unflatten_views(self.intensity(flat), images.shape[0])
        return Batch(inputs, {"permutation": permutation, "turns": turns})

    def head(self) -> nn.Module:
        return RubiksCubeHead(classes=self.permutations, hidden=self.hidden)

    def loss(self, outputs: dict, batch: Batch) -> tuple[Array, Metrics]:
        logits, labels = outputs["permutation"], batch.targets["permutation"]
        turned = batch.targets["turns"]
        order = losses.softmax_cross_entropy(logits, labels).mean()
        turns = losses.binary_cross_entropy(outputs["turns"], turned).mean()
        return self.permutation_weight * order + self.turn_weight * turns, {
            "accuracy": accuracy(logits, labels),
            "turn_accuracy": ((outputs["turns"] > 0) == turned).mean(),
        }
