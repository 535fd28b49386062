"""Stored integers to network inputs and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.ops.intensity import Intensity, standardise_each

RGB = Intensity(mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))
CT = Intensity(low=-100, high=300, mean=(0.25,), std=(0.5,))


def test_values_by_hand():
    pixel = jnp.asarray([[0, 255, 51]], jnp.uint8)
    np.testing.assert_allclose(RGB.unit(pixel), [[0, 1, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(RGB(pixel), [[-4, 2.5, -4 / 3]], rtol=1e-5)
    voxels = jnp.asarray([[-100], [0], [300]], jnp.int16)
    np.testing.assert_allclose(CT.unit(voxels), [[0], [0.25], [1]], rtol=1e-6)
    np.testing.assert_allclose(CT(voxels), [[-0.5], [0], [1.5]], atol=1e-6)


@pytest.mark.parametrize(
    "intensity, shape", [(RGB, (2, 5, 4, 3)), (CT, (2, 3, 4, 5, 1)), (CT, (7, 3))]
)
def test_round_trip(intensity, shape):
    low, high = int(intensity.low), int(intensity.high)
    x = np.random.default_rng(0).integers(low, high + 1, shape).astype(np.int16)
    inputs = intensity(jnp.asarray(x))
    assert inputs.dtype == jnp.float32 and inputs.shape == shape
    back = intensity.unstandardise(inputs) * (high - low) + low
    np.testing.assert_allclose(back, x, atol=1e-3 * (high - low))


@pytest.mark.parametrize("shape", [(3, 6, 5, 2), (3, 4, 5, 3, 1)])
def test_standardise_each(shape):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, shape) * rng.uniform(0.3, 2, (3, *(1,) * (len(shape) - 1))) + 5
    y = np.asarray(standardise_each(jnp.asarray(x, jnp.float32)), np.float64)
    axes = tuple(range(1, len(shape) - 1))
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(axes), 1, atol=1e-3)
    slope = (y / (x - x.mean(axes, keepdims=True))).reshape(3, -1, shape[-1])
    np.testing.assert_allclose(slope, np.broadcast_to(slope[:, :1], slope.shape), rtol=0.05)


def test_fractions_are_refused_and_whole_numbers_are_not():
    stored = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    expected = RGB(stored)
    for images in (stored.astype(np.float32), jnp.asarray(stored, jnp.float32)):
        np.testing.assert_array_equal(RGB(images), expected)
    for images in (stored / 255, jnp.asarray(stored) / 255, stored + np.float16(0.5)):
        with pytest.raises(InputError, match="with fractions; give the stored integers .0 to 255"):
            RGB(images)
    np.testing.assert_allclose(jax.jit(RGB)(stored.astype(np.float32)), expected, rtol=1e-6)


@pytest.mark.parametrize("call", [RGB, RGB.standardise, RGB.unstandardise, jax.jit(RGB)])
def test_one_channel_is_not_spread_over_three(call):
    with pytest.raises(InputError, match="have 1 channels, those of the data set 3"):
        call(jnp.zeros((2, 5, 4, 1)))
