"""Inpainting: only the box is hidden, and only the box counts."""

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.intensity import Intensity
from assl_jax.tasks.inpaint import Inpaint

SHAPES = pytest.mark.parametrize("shape", [(40, 12, 9, 3), (40, 6, 8, 10, 1)])
INTENSITY = Intensity(mean=(0.4,), std=(0.3,))


def batch_of(make, shape, **settings):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return images, make(Inpaint(intensity=INTENSITY, **settings), images)


@SHAPES
@pytest.mark.parametrize("region", ["random", "centre"])
def test_the_box_is_the_mean_and_the_rest_untouched(make, shape, region):
    images, batch = batch_of(make, shape, region=region)
    inputs, mask = np.asarray(batch.inputs), np.asarray(batch.targets["mask"])
    space = np.asarray(shape[1:-1])
    assert inputs.shape == (shape[0], 1, *shape[1:]) and mask.shape == (*shape[:-1], 1)
    whole = (images / 255 - 0.4) / 0.3
    np.testing.assert_allclose(batch.targets["image"], whole, atol=1e-5)
    np.testing.assert_array_equal(inputs[:, 0][np.broadcast_to(mask, shape)], 0)
    np.testing.assert_allclose(inputs[:, 0], np.where(mask, 0, whole), atol=1e-5)
    size = np.round(space / 2).astype(int)
    starts = []
    for one in mask[..., 0]:
        inside = np.argwhere(one)
        low, high = inside.min(0), inside.max(0) + 1
        np.testing.assert_array_equal(high - low, size)
        assert one.sum() == size.prod()  # a full box
        starts.append(tuple(map(int, low)))
    if region == "centre":
        assert set(starts) == {tuple(map(int, (space - size) // 2))}
    else:
        assert len(set(starts)) > 15
        np.testing.assert_array_equal(np.min(starts, 0), 0)
        np.testing.assert_array_equal(np.max(starts, 0), space - size)


def test_mask_fraction(make):
    _, batch = batch_of(make, (2, 16, 16, 1), mask_fraction=0.25)
    np.testing.assert_array_equal(batch.targets["mask"].sum((1, 2, 3)), 16)


def test_the_loss_ignores_the_unmasked_pixels(make, quick_jit):
    shape = (40, 12, 9, 3)
    _, batch = batch_of(make, shape, region="random")
    mask, image = batch.targets["mask"], batch.targets["image"]
    loss = quick_jit(lambda painted: Inpaint().loss(painted, batch)[0])
    outside = jnp.where(mask, image, 99.0)[:, None]
    assert loss(outside) == 0
    off = jnp.where(mask, image + 2.0, image)[:, None]
    np.testing.assert_allclose(loss(off), 4, rtol=1e-4)
