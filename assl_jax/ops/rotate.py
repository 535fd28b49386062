"""Rotations by multiples of 90 degrees."""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Shaped

Rotation = tuple[tuple[int, int], int]  # plane of two spatial axes, quarter turns

IDENTITY: Rotation = ((0, 1), 0)


def rotation_classes(space: Sequence[int]) -> tuple[Rotation, ...]:
    """The distinct rotations in one coordinate plane that keep an image's shape.

    The angles are 0, 90, 180 and 270 degrees. Half turns keep every shape.

    Args:
      space: spatial shape of the image.

    Returns:
      In 2D four rotations for a square and two for other shapes. In 3D ten for a cube, six for a
      box with two equal sides, four for a box with three different sides.
    """
    classes = [IDENTITY]
    for plane in itertools.combinations(range(len(space)), 2):
        square = space[plane[0]] == space[plane[1]]
        classes += [(plane, turns) for turns in (1, 2, 3) if square or turns == 2]
    return tuple(classes)


def rotate(images: Shaped[Array, "b *space c"], rotation: Rotation) -> Shaped[Array, "b *space c"]:
    """Rotate every image of the batch."""
    plane, turns = rotation
    return jnp.rot90(images, turns, axes=(plane[0] + 1, plane[1] + 1))
