"""Sampling routes by hand, and what decides them; `test_properties.py` has what holds for all."""

import itertools

import numpy as np
import pytest

from assl_jax.routes import routes_per_corner, sampling_routes


@pytest.mark.parametrize("rank", [2, 3])
def test_six_of_each_corner_in_order(rank):
    corners = list(itertools.product((0, 2), repeat=rank))
    want = np.repeat(corners, 6, axis=0)
    routes = sampling_routes(rank)
    np.testing.assert_array_equal(routes[:, 0], want)
    assert routes.dtype == np.int32


def test_the_six_routes_of_one_corner():
    want = {
        "00 10 20 21 22",
        "00 10 11 21 22",
        "00 10 11 12 22",
        "00 01 11 21 22",
        "00 01 11 12 22",
        "00 01 02 12 22",
    }
    assert {" ".join(f"{y}{x}" for y, x in r) for r in sampling_routes(2)[:6]} == want


@pytest.mark.parametrize("tiles, count, length", [(2, 2, 3), (4, 20, 7)])
def test_another_number_of_tiles_per_axis(monkeypatch, tiles, count, length):
    """On a square grid of n tiles per axis, C(2n - 2, n - 1) routes start at a corner."""
    monkeypatch.setattr("assl_jax.routes.TILES_PER_AXIS", tiles)
    assert routes_per_corner(2) == count
    routes = sampling_routes.__wrapped__(2, per_corner=count)
    assert routes.shape == (4 * count, length, 2)
    assert set(np.unique(routes[:, 0])) == {0, tiles - 1} and routes.max() == tiles - 1
    np.testing.assert_array_equal(routes[:, -1], tiles - 1 - routes[:, 0])


def test_the_seed_decides_the_draw_and_is_0_by_default():
    """Labels of stored networks are rows of this table."""
    first = sampling_routes(3, seed=0)
    sampling_routes.cache_clear()
    np.testing.assert_array_equal(sampling_routes(3), first)
    assert (sampling_routes(3, seed=1) != first).any()
    np.testing.assert_array_equal(sampling_routes(2, seed=1), sampling_routes(2))


def test_corners_draw_independently():
    mirrored = np.abs(sampling_routes(3) - sampling_routes(3)[:, :1]).reshape(8, 6, 7, 3)
    assert any((mirrored[0] != other).any() for other in mirrored[1:])


def test_read_only():
    with pytest.raises(ValueError, match="read-only"):
        sampling_routes(2)[0, 0, 0] = 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: sampling_routes(1), "rank must be 2 or 3"),
        (lambda: routes_per_corner(4), "rank must be 2 or 3"),
        (lambda: sampling_routes(2, per_corner=7), "between 1 and 6"),
        (lambda: sampling_routes(3, per_corner=0), "between 1 and 90"),
    ],
)
def test_clear_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
