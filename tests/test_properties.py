"""What holds for linear CKA, routes, permutations and tiles, whatever the arguments."""

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assl_jax.errors import InputError
from assl_jax.lcka import lcka_matrix
from assl_jax.permutations import max_min_hamming_permutations
from assl_jax.routes import routes_per_corner, sampling_routes
from assl_jax.tasks.tiles import SMALLEST_TILE, all_cells, cut_tiles, tile_grid

SEEDS = st.integers(0, 2**32 - 1)
FEATURES = arrays(np.float32, (10, 4), elements=st.integers(-50, 50), fill=st.nothing())


def spread(x):
    """The share of the variance that the image farthest from the mean has."""
    squared = ((x - x.mean(0)) ** 2).sum(1)
    return squared.max() / max(squared.sum(), 1e-30)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@given(FEATURES, FEATURES, SEEDS, st.integers(-20, 20), st.integers(-1000, 1000))
def test_cka(estimator, x, y, seed, exponent, offset):
    # Without an outlier: of one image alone, the unbiased estimator knows nothing.
    assume(0 < spread(x) < 0.5 and 0 < spread(y) < 0.5)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    order = rng.permutation(10)
    others = (
        x @ turn,
        -(10.0**exponent) * x,
        x + offset * np.arange(4),
        (x @ turn + offset) * 2.0**exponent,
    )
    sets = [x, y, *(other.astype(np.float32) for other in others)]
    found = np.asarray(lcka_matrix(sets, estimator=estimator))
    assert np.abs(found).max() <= 1 + 1e-5 and (estimator == "unbiased" or found.min() >= -1e-6)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found[2:, 0], 1, atol=1e-3)  # equal to itself
    np.testing.assert_allclose(found[2:, 1], found[0, 1], atol=1e-3)  # whatever y is
    again = np.asarray(lcka_matrix([s[order] for s in sets], estimator=estimator))
    np.testing.assert_allclose(again, found, atol=1e-4)  # the order of the images


@given(st.sampled_from([2, 3]), st.data(), SEEDS)
def test_routes(rank, data, seed):
    most = routes_per_corner(rank)
    assert most == math.factorial(2 * rank) // 2**rank
    count = data.draw(st.integers(1, most))
    routes = sampling_routes(rank, per_corner=count, seed=seed)
    assert routes.shape == (2**rank * count, 2 * rank + 1, rank)
    assert len({route.tobytes() for route in routes}) == len(routes)
    assert set(np.unique(routes)) <= {0, 1, 2} and set(np.unique(routes[:, 0])) == {0, 2}
    np.testing.assert_array_equal(routes[:, -1], 2 - routes[:, 0])  # corner to corner
    steps = np.diff(routes, axis=1)
    assert (np.abs(steps).sum(-1) == 1).all()  # neighbours
    starts = [tuple(start) for start in routes[:, 0].tolist()]
    assert all(starts.count(start) == count for start in set(starts))
    with pytest.raises(ValueError, match="per_corner"):
        sampling_routes(rank, per_corner=most + count, seed=seed)


@given(st.integers(2, 12), st.data(), SEEDS)
def test_permutations(n, data, seed):
    count = data.draw(st.integers(1, min(math.factorial(n), 30)))
    table = max_min_hamming_permutations.__wrapped__(n, count, seed=seed)
    np.testing.assert_array_equal(np.sort(table, axis=1), [range(n)] * count)
    distance = (table[:, None] != table[None]).sum(-1)
    apart = distance[~np.eye(count, dtype=bool)]
    assert (apart >= 2).all()  # distinct: two permutations differ in two places at least
    # Each choice is as far from the earlier ones as the one before it was, or less.
    nearest = [distance[i, :i].min() for i in range(1, count)]
    assert nearest == sorted(nearest, reverse=True)


OVERLAPS = st.builds(Fraction, st.integers(0, 5), st.just(6)) | st.sampled_from(
    [None, Fraction(1, 2), Fraction(1, 3), Fraction(2, 5)]
)


@given(
    st.lists(st.integers(4, 200), min_size=2, max_size=3),
    st.integers(1, 100),
    st.integers(2, 5),
    OVERLAPS,
)
def test_tile_grid(space, percent, tiles, overlap):
    share = Fraction(1, 2) if overlap is None else overlap
    fraction = percent / 100
    # In units of which the overlap and the stride are whole numbers.
    units = share.denominator + (tiles - 1) * (share.denominator - share.numerator)
    sides = [math.floor(Fraction(percent * n, 100) / units) for n in space]
    call = functools.partial(
        *(tile_grid, "src", space),
        crop_fraction=fraction,
        tiles=tiles,
        advice="change it",
        overlap=overlap,
    )
    if min(sides) * share.denominator < SMALLEST_TILE:
        with pytest.raises(InputError, match="task src: .* larger images or change it"):
            call()
        return
    grid = call()
    for n, side, tile, stride, crop in zip(space, sides, *grid, strict=True):
        assert tile == side * share.denominator  # the largest that fits
        assert Fraction(tile - stride, tile) == share
        assert crop == tile + (tiles - 1) * stride  # the tiles cover the crop
        assert crop <= fraction * n + 1e-3 and stride >= 1


@functools.cache
def cutting(space):
    """The grid of 3 tiles per axis in 5/6 of an image, all its cells, and the compiled cut."""
    grid = tile_grid("src", space, crop_fraction=5 / 6, tiles=3, advice="")
    cells = all_cells(3, len(space))
    return grid, cells, jax.jit(lambda key, x: cut_tiles(key, x, jnp.asarray(cells)[None], grid))


@pytest.mark.parametrize("space", [(20, 26), (12, 13, 14)])
@given(seed=SEEDS)
def test_tiles_lie_in_their_places(space, seed):
    grid, cells, cut = cutting(space)
    images = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), -1)  # own coordinates
    tiles = np.asarray(cut(jax.random.key(seed), np.stack([images, images])))
    assert tiles.shape == (2, len(cells), *grid.tile, len(space))
    first = tiles.reshape(2, len(cells), -1, len(space))[:, :, 0]
    inside = first - first[:, :1]  # relative to the crop
    np.testing.assert_array_equal(inside, np.broadcast_to(cells * grid.stride, inside.shape))
    room = np.asarray(space) - grid.crop
    assert (first[:, 0] >= 0).all() and (first[:, 0] <= room).all()
    within = np.stack(np.meshgrid(*map(np.arange, grid.tile), indexing="ij"), -1)
    shape = (2, len(cells), *(1,) * len(space), len(space))
    np.testing.assert_array_equal(
        tiles - first.reshape(shape), np.broadcast_to(within, tiles.shape)
    )
