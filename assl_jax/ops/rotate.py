"""Rotations by multiples of 90 degrees that keep an image's shape."""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Shaped

Rotation = tuple[tuple[int, int], int]  # plane of two spatial axes, quarter turns

IDENTITY: Rotation = ((0, 1), 0)


def rotation_classes(space: Sequence[int]) -> tuple[Rotation, ...]:
    """All distinct 0/90/180/270 degree turns in one coordinate plane that keep the shape `space`.

    In 2D four for a square and two otherwise; in 3D ten for a cube, six when two axes are equal
    and four for three different ones (half turns always keep the shape).
    """
    classes = [IDENTITY]
    for plane in itertools.combinations(range(len(space)), 2):
        square = space[plane[0]] == space[plane[1]]
        classes += [(plane, turns) for turns in (1, 2, 3) if square or turns == 2]
    return tuple(classes)


def rotate(images: Shaped[Array, "b *space c"], rotation: Rotation) -> Shaped[Array, "b *space c"]:
    """Turn every image of the batch."""
    plane, turns = rotation
    return jnp.rot90(images, turns, axes=(plane[0] + 1, plane[1] + 1))
