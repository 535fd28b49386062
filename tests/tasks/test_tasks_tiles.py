"""Tiles: every size follows from the one overlap."""

from fractions import Fraction

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


@pytest.mark.parametrize("overlap", [Fraction(1), Fraction(-1, 4), Fraction(3, 2)])
def test_an_overlap_out_of_range_is_one_clear_line(monkeypatch, overlap):
    monkeypatch.setattr(tiles, "OVERLAP", overlap)
    with pytest.raises(InputError, match="src.overlap=.* must be at least 0 and below 1"):
        tiles.tile_grid("src", (96, 96), crop_fraction=1.0, tiles=3, advice="")


@pytest.mark.parametrize(
    "task, space, sides",
    [
        (SRC(), (96, 96), (40, 40)),
        (SRC(), (32, 32), (12, 12)),
        (SRC(), (30, 270, 230), (12, 112, 94)),
        (SRC(), (10, 10), (4, 4)),
        (SRC(crop_fraction=1.0), (40, 40), (20, 20)),
        (SRC(crop_fraction=0.5), (48, 72), (12, 18)),
        (CPC(), (96, 96), (40, 40)),
        (CPC(grid=7, crop_fraction=1.0), (96, 96), (24, 24)),
        (CPC(crop_fraction=0.5), (48, 72), (12, 18)),
        (CPC(grid=2, steps=1), (30, 128, 96), (16, 70, 52)),
    ],
)
def test_sides_of_the_tiles(task, space, sides):
    grid = task.patches(space) if isinstance(task, CPC) else task.grid(space)
    assert grid.tile == sides
