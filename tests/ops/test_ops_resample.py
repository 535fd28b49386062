"""Resizing, cropping and blurring against Pillow, SciPy and values known by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from assl_jax.ops.resample import (
    apply_matrices,
    random_blur,
    random_resized_crop,
    resize,
    resize_matrix,
)

KEY = jax.random.key(1)
compiled_matrix = jax.jit(resize_matrix, static_argnums=(2, 3))
compiled_resize = jax.jit(resize, static_argnums=1)


def run(operation, images, **settings):
    """One compilation instead of one for every operation inside."""
    call = jax.jit(functools.partial(operation, **settings))
    return np.asarray(call(KEY, jnp.asarray(images)))


def noise(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def pillow(image, out, box=None):
    """Independent reference: Pillow's triangle filter on one float channel `[h, w]`."""
    size = (out[1], out[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box))


def matrix(start, length, n, out):
    return np.asarray(compiled_matrix(np.array([start]), np.array([length]), n, out))[0]


def test_resize_matrix_by_hand():
    np.testing.assert_allclose(matrix(0.0, 5.0, 5, 5), np.eye(5), atol=1e-6)
    # Twice as many pixels: quarters and three quarters inside, the border pixel alone outside.
    want = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_allclose(matrix(0.0, 2.0, 2, 4), want, atol=1e-6)
    # Half as many: a triangle of half-width 2, its tail cut off at the border and renormalised.
    want = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    np.testing.assert_allclose(matrix(0.0, 4.0, 4, 2), want, atol=1e-6)


@pytest.mark.parametrize("space, out", [((6, 9), (11, 20)), ((12, 9), (5, 4)), ((7, 8), (15, 3))])
def test_resize_agrees_with_pillow(space, out):
    x = noise(2, *space, 3)
    y = compiled_resize(x, out)
    assert y.shape == (2, *out, 3)
    for i in range(2):
        for c in range(3):
            np.testing.assert_allclose(y[i, ..., c], pillow(x[i, ..., c], out), atol=1e-5)


def test_resize_of_a_ramp_is_exact_inside():
    ramp = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None, None] + 0.5, (6, 2, 3, 1))
    y = compiled_resize(ramp[None], (12, 4, 5))
    assert y.shape == (1, 12, 4, 5, 1)
    want = (np.arange(12) + 0.5) / 2
    np.testing.assert_allclose(y[0, 1:-1, 2, 3, 0], want[1:-1], rtol=1e-6)


def test_a_box_of_the_image_agrees_with_pillow():
    """Each image of a batch has its own matrices."""
    x = noise(2, 9, 12, 1)
    top, high = jnp.asarray([1.5, 0.0]), jnp.asarray([5.0, 9.0])
    left, wide = jnp.asarray([2.25, 6.0]), jnp.asarray([7.5, 3.0])
    matrices = [compiled_matrix(top, high, 9, 10), compiled_matrix(left, wide, 12, 6)]
    y = jax.jit(apply_matrices)(x, matrices)
    for i in range(2):
        box = tuple(float(v[i]) for v in (left, top, left + wide, top + high))
        np.testing.assert_allclose(y[i, ..., 0], pillow(x[i, ..., 0], (10, 6), box), atol=1e-5)


@pytest.mark.parametrize(
    "space, scale", [((40, 30), (0.2, 0.5)), ((24, 30, 28), (0.1, 0.3))], ids=["2d", "3d"]
)
def test_random_resized_crop_takes_boxes_within_the_ranges(space, scale):
    """The image holds its coordinates, so the output shows which box was cut."""
    rank = len(space)
    grid = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), -1) + 0.5
    x = np.broadcast_to(grid.astype(np.float32), (128, *grid.shape))
    y = run(random_resized_crop, x, scale=scale)
    assert y.shape == x.shape
    length, start = np.empty((128, rank)), np.empty((128, rank))
    for i, n in enumerate(space):
        line = y[:, *(n // 2 if j != i else slice(None) for j, n in enumerate(space)), i]
        middle = slice(n // 4, -(n // 4))
        step = np.diff(line[:, middle]).mean(1)
        np.testing.assert_allclose(np.diff(line[:, middle]) - step[:, None], 0, atol=1e-3)
        length[:, i] = step
        start[:, i] = line[:, n // 2] - (n // 2 + 0.5) * step
    start = start / np.asarray(space)
    assert (start > -1e-3).all() and (start + length < 1 + 1e-3).all()
    share = length.prod(1)
    assert scale[0] - 1e-3 < share.min() < scale[0] * 1.1
    assert scale[1] * 0.9 < share.max() < scale[1] + 1e-3
    aspect = length[:, :-1] / length[:, -1:]
    assert 3 / 4 - 1e-3 < aspect.min() < 0.8 and 1.25 < aspect.max() < 4 / 3 + 1e-3
    assert start.min() < 0.1 and (start + length).max() > 0.9


def test_random_resized_crop_keeps_a_constant_and_narrows_long_sides():
    x = np.full((16, 6, 5, 4, 1), 0.3, np.float32)
    y = run(random_resized_crop, x, scale=(0.9, 1.0), ratio=(0.2, 5.0))
    np.testing.assert_allclose(y, x, rtol=1e-5)


@pytest.mark.parametrize("space", [(40, 30), (24, 20, 22)])
def test_blur_agrees_with_scipy_inside(space):
    x = noise(2, *space, 2)
    y = run(random_blur, x, sigma=(1.2, 1.2), probability=1.0)
    inside = tuple(slice(8, -8) for _ in space)
    axes = tuple(range(len(space)))
    for i in range(2):
        want = gaussian_filter(x[i], 1.2, truncate=7, axes=axes)
        np.testing.assert_allclose(y[i][inside], want[inside], atol=1e-5)


def test_blur_draws_a_width_per_image_and_leaves_some_alone():
    x = np.zeros((200, 9, 9, 1), np.float32)
    x[:, 4, 4] = 1
    y = run(random_blur, x, sigma=(0.5, 1.5))
    peak = y[:, 4, 4, 0]
    still = peak == 1
    np.testing.assert_array_equal(y[still], x[still])
    assert 70 < still.sum() < 130
    # The peak is the product over the axes of 1 / sum(exp(-i^2 / 2 sigma^2)).
    lowest, highest = (
        np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2).sum() ** -2.0 for sigma in (1.5, 0.5)
    )
    assert lowest <= peak[~still].min() < 1.3 * lowest and peak[~still].max() <= highest + 1e-6
    assert len(np.unique(peak[~still])) > 60
    np.testing.assert_allclose(y.sum((1, 2, 3)), 1, atol=0.1)  # rows sum to 1, columns not quite
