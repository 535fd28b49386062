"""Tiles: every size follows from the one overlap, and tiles are the pixels of their positions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.tasks import tiles
from assl_jax.tasks.cpc import CPC
from assl_jax.tasks.src import SRC

QUARTER = Fraction(1, 4)


def test_all_cells_are_in_raster_order():
    assert tiles.all_cells(2, 2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert tiles.all_cells(3, 3).shape == (27, 3)


@pytest.mark.parametrize(
    "overlap, per_axis, sizes",
    [
        # 80 of 96 pixels: tile side t, stride (1 - overlap) t, crop t + (per_axis - 1) stride.
        (Fraction(1, 2), 3, (40, 20, 80)),
        (QUARTER, 3, (32, 24, 80)),
        (Fraction(0), 3, (26, 26, 78)),
        (Fraction(2, 3), 3, (48, 16, 80)),
        (Fraction(1, 2), 4, (32, 16, 80)),
        (QUARTER, 2, (44, 33, 77)),
    ],
)
def test_every_size_follows_from_the_overlap(monkeypatch, overlap, per_axis, sizes):
    monkeypatch.setattr(tiles, "OVERLAP", overlap)
    grid = tiles.tile_grid("src", (96, 48), crop_fraction=5 / 6, tiles=per_axis, advice="")
    assert tuple(sides[0] for sides in grid) == sizes
    for tile, stride, crop, side in zip(*grid, (96, 48), strict=True):
        assert tile - stride == overlap * tile
        assert crop == tile + (per_axis - 1) * stride <= side


@pytest.mark.parametrize("overlap", [Fraction(1), Fraction(-1, 4), Fraction(3, 2)])
def test_an_overlap_out_of_range_is_one_clear_line(monkeypatch, overlap):
    monkeypatch.setattr(tiles, "OVERLAP", overlap)
    with pytest.raises(InputError, match="src.overlap=.* must be at least 0 and below 1"):
        tiles.tile_grid("src", (96, 96), crop_fraction=1.0, tiles=3, advice="")


@pytest.mark.slow
@pytest.mark.parametrize("space", [(64, 64), (32, 40, 32)])
def test_a_quarter_reaches_src_and_cpc(monkeypatch, coordinates, as_stored, space):
    """Neighbouring tiles share a quarter of their side, on coordinate images."""
    monkeypatch.setattr(tiles, "OVERLAP", QUARTER)
    images, rank = coordinates(3, *space), len(space)
    for task in (SRC(overlap=0.25, intensity=as_stored), CPC(intensity=as_stored)):
        batch = task.make_batch(jax.random.key(0), jnp.asarray(images))
        views = np.asarray(batch.inputs)
        first = views[(slice(None), slice(None), *[0] * rank)]
        steps = np.abs(np.diff(first, axis=1))  # between tiles that follow one another
        sides = np.asarray(views.shape[2:-1])
        strides = 3 * sides // 4
        assert (sides % 4 == 0).all() and (sides >= 4).all()
        moved = steps > 0
        multiples = steps / strides
        np.testing.assert_array_equal(multiples, multiples.round())
        if isinstance(task, SRC):  # one stride along one axis at a time
            np.testing.assert_array_equal(moved.sum(-1), 1)
            np.testing.assert_array_equal(multiples[moved], 1)
        ends = first.max(1) + sides
        np.testing.assert_array_equal(ends - first.min(1), [sides + 2 * strides] * 3)
        assert (ends <= np.asarray(space)).all()
