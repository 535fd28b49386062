"""Intensity curves against slow NumPy, and the properties of all curves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.curve import apply_table, bezier_table, random_curve

KEY = jax.random.key(3)
RISING, FALLING = ((0, 0), (1, 1)), ((0, 1), (1, 0))


def control(ends, *inner):
    """`[4, 2]` points of a curve."""
    return np.array([ends[0], *inner, ends[1]], np.float32)


def drawn(ends, count, low=0.0, high=1.0):
    inner = np.random.default_rng(0).uniform(low, high, (count, 2, 2))
    return np.stack([control(ends, *pair) for pair in inner])


def table(points, levels):
    return np.asarray(bezier_table(jnp.asarray(points), levels))


def slow_curve(points, x, steps=100_001):
    """De Casteljau at many t in float64, then interpolation."""
    t = np.linspace(0, 1, steps)[:, None]
    p = [np.float64(point)[None] for point in points]
    while len(p) > 1:
        p = [(1 - t) * a + t * b for a, b in zip(p[:-1], p[1:], strict=True)]
    return np.interp(x, *p[0].T)


@pytest.mark.parametrize("ends", [RISING, FALLING])
def test_table_is_the_curve(ends):
    points = drawn(ends, 40, 0.1, 0.9)
    want = [slow_curve(p, np.linspace(0, 1, 200)) for p in points]
    np.testing.assert_allclose(table(points, 200), want, atol=2e-4)


@pytest.mark.parametrize("ends", [RISING, FALLING])
def test_curves_are_monotone_from_end_to_end(ends):
    steep = [control(ends, (1, 0.3), (0, 0.6)), control(ends, (0, 0), (1, 1))]
    points = np.concatenate([drawn(ends, 200), np.stack(steep)])
    y = table(points, 256)
    np.testing.assert_array_equal(y[:, [0, -1]], [[ends[0][1], ends[1][1]]] * len(y))
    direction = ends[1][1] - ends[0][1]
    assert (direction * np.diff(y) >= -1e-6).all() and y.min() >= 0 and y.max() <= 1
    vertical, reverse = y[-2], y[-1]
    assert np.abs(np.diff(vertical)).max() > 0.03  # x' is 0 in its middle
    np.testing.assert_allclose(reverse + reverse[::-1], 1, atol=1e-4)  # symmetric about the centre


@pytest.mark.parametrize("shape", [(3, 5, 4, 3), (2, 3, 4, 5, 1)])
@pytest.mark.parametrize("levels", [2, 7, 256])
def test_table_is_applied_as_numpy_interpolates(quick_jit, shape, levels):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, shape).astype(np.float32)
    x[:, 0, 0], x[:, 0, 1] = 0, 1
    tables = rng.uniform(0, 1, (shape[0], levels)).astype(np.float32)
    got = quick_jit(apply_table)(jnp.asarray(x), jnp.asarray(tables))
    grid = np.linspace(0, 1, levels)
    want = [np.interp(image, grid, t) for image, t in zip(x, tables, strict=True)]
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_array_equal(got[:, 0, 0].reshape(shape[0], -1)[:, 0], tables[:, 0])
    np.testing.assert_array_equal(got[:, 0, 1].reshape(shape[0], -1)[:, 0], tables[:, -1])


def ramps(b, channels=1):
    """Images whose pixels rise evenly from 0 to 1, the same in every channel."""
    ramp = np.linspace(0, 1, 81, dtype=np.float32).reshape(1, 9, 9, 1)
    return np.broadcast_to(ramp, (b, 9, 9, channels))


def curved(images, **settings):
    run = jax.jit(functools.partial(random_curve, **settings))
    return np.asarray(run(KEY, jnp.asarray(images)))


@pytest.mark.slow
@pytest.mark.parametrize("inverted", [0.0, 0.3, 1.0])
def test_random_curves_rise_or_fall_and_all_differ(inverted):
    y = curved(ramps(200, 3), probability=1.0, inverted=inverted)
    assert (y == y[..., :1]).all()  # one curve for all channels
    y = y[..., 0].reshape(200, -1)
    falls = y[:, 0] > y[:, -1]
    low, high = {0.0: (0, 0), 0.3: (40, 80), 1.0: (200, 200)}[inverted]
    assert low <= falls.sum() <= high
    rising = np.where(falls[:, None], y[:, ::-1], y)
    assert (np.diff(rising) >= -1e-6).all()
    np.testing.assert_array_equal(rising[:, [0, -1]], [[0, 1]] * 200)
    middle = rising[:, 40]
    assert len(np.unique(middle)) == 200
    assert abs(middle.mean() - 0.5) < 0.05 and middle.min() < 0.25 and middle.max() > 0.75
