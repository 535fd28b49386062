"""Colour changes against a slow reference that applies one change after another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.colour import colour_jitter, grey, random_grey

KEY = jax.random.key(2)
WEIGHTS = (0.299, 0.587, 0.114)


def noise(*shape, low=0.0, high=1.0):
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


def jitter(images, key=KEY, **settings):
    call = functools.partial(colour_jitter, **settings)
    return np.asarray(jax.jit(call)(key, jnp.asarray(images)))


def luma(pixel):
    return sum(w * v for w, v in zip(WEIGHTS, pixel, strict=True))


def uv(pixel):
    """Chroma as one complex number V + iU of the YUV space; YIQ's plane turned by 33 degrees."""
    y, (r, _, b) = luma(pixel), pixel
    return 0.877283 * (r - y) + 0.492111j * (b - y)


def rgb(y, chroma):
    r, b = y + chroma.real / 0.877283, y + chroma.imag / 0.492111
    return np.array([r, (y - WEIGHTS[0] * r - WEIGHTS[2] * b) / WEIGHTS[1], b])


def slow_jitter(image, brightness, contrast, saturation, turn):
    """One pixel and one change after another, nothing clipped."""
    image = np.array(image, np.float64)
    pixels = list(np.ndindex(image.shape[:-1]))
    for p in pixels:
        image[p] = brightness * image[p]
    level = np.mean([luma(image[p]) for p in pixels])
    for p in pixels:
        image[p] = contrast * image[p] + (1 - contrast) * level
    for p in pixels:
        image[p] = saturation * image[p] + (1 - saturation) * luma(image[p])
    for p in pixels:
        image[p] = rgb(luma(image[p]), uv(image[p]) * np.exp(1j * turn))
    return image


def fitted(before, after):
    """The four factors, read off two grey pixels and a coloured one of the same image."""
    (a, b, colour), (fa, fb, fcolour) = before[0, :3].astype(float), after[0, :3].astype(float)
    product = (fa[0] - fb[0]) / (a[0] - b[0])
    level = np.mean([luma(pixel) for pixel in before.reshape(-1, 3)])
    brightness = product + (fa[0] - product * a[0]) / level  # fa = b (c a + (1 - c) level)
    chroma = uv(fcolour) / uv(colour)
    factors = brightness, product / brightness, abs(chroma) / product
    return (*factors, np.angle(chroma))


def test_jitter_is_the_changes_one_after_another():
    before = noise(48, 3, 4, 3, low=0.4, high=0.6)  # so that nothing is clipped
    before[:, 0, 0], before[:, 0, 1], before[:, 0, 2] = 0.42, 0.58, (0.6, 0.45, 0.4)
    strength = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.25, "hue": 0.05}
    after = jitter(before, **strength, probability=1.0)
    factors = np.array([fitted(x, y) for x, y in zip(before, after, strict=True)])
    for i in range(8):
        np.testing.assert_allclose(after[i], slow_jitter(before[i], *factors[i]), atol=2e-3)
    spans = [(1 - v, 1 + v) for v in (0.2, 0.3, 0.25)] + [(-0.1 * np.pi, 0.1 * np.pi)]
    for values, (low, high) in zip(factors.T, spans, strict=True):
        margin = 0.15 * (high - low)
        assert low - 5e-3 < values.min() < low + margin
        assert high - margin < values.max() < high + 5e-3
    # Drawn independently of one another, image by image.
    assert np.abs(np.corrcoef(factors.T) - np.eye(4)).max() < 0.5


@pytest.mark.parametrize("shape", [(6, 5, 5, 1), (3, 4, 4, 4, 1)])
def test_one_channel_changes_brightness_and_contrast(shape):
    before = noise(*shape, low=0.45, high=0.55)
    strength = {"brightness": 0.3, "contrast": 0.3}
    after = jitter(before, **strength, saturation=0.9, hue=0.5, probability=1.0)
    for x, y in zip(before, after, strict=True):
        slope, offset = np.polyfit(x.ravel(), y.ravel(), 1)
        np.testing.assert_allclose(y, slope * x + offset, atol=1e-5)
        brightness = slope + offset / x.mean()
        assert 0.7 <= brightness <= 1.3 and 0.7 <= slope / brightness <= 1.3


def test_grey():
    x = noise(2, 3, 3, 3)
    np.testing.assert_allclose(grey(jnp.asarray(x))[..., 0], x @ np.array(WEIGHTS), rtol=1e-5)
    one = jnp.asarray(x[..., :1])
    np.testing.assert_array_equal(grey(one), one)
    np.testing.assert_allclose(
        grey(jnp.asarray(x[..., :2]))[..., 0], x[..., :2].mean(-1), rtol=1e-6
    )


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_random_grey(probability):
    x = noise(100, 2, 2, 3)
    dropping = jax.jit(functools.partial(random_grey, probability=probability))
    y = np.asarray(dropping(KEY, jnp.asarray(x)))
    dropped = (y != x).any((1, 2, 3))
    low, high = {0.0: (0, 0), 0.3: (15, 45), 1.0: (100, 100)}[probability]
    assert low <= dropped.sum() <= high
    np.testing.assert_allclose(
        y[dropped], np.repeat((x[dropped] @ np.array(WEIGHTS))[..., None], 3, -1), rtol=1e-5
    )
