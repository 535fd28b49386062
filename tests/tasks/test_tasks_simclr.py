"""SimCLR: two different views of the same image."""

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.tasks import Batch
from assl_jax.tasks.simclr import SimCLR

PLAIN = {"jitter": 0.0, "grey": 0.0}
SHAPES = pytest.mark.parametrize("shape", [(8, 12, 12, 3), (6, 8, 8, 8, 1)])


@pytest.mark.slow
@SHAPES
def test_both_views_come_from_their_own_image(make, shape):
    """Constant images stay constant under crop, flip and blur, so a view shows its image."""
    values = (np.arange(1, shape[0] + 1) * 10).reshape(-1, *(1,) * (len(shape) - 1))
    images = np.broadcast_to(values, shape).astype(np.uint8)
    task = SimCLR(**PLAIN)
    views = make(task, images).inputs * 0.25 + 0.5
    assert views.shape == (shape[0], 2, *shape[1:])
    np.testing.assert_allclose(views, np.stack([images / 255] * 2, 1), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 32, 32, 3), (2, 16, 16, 16, 1)])
def test_views_differ_from_each_other_and_from_the_image(make, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    views = np.asarray(make(SimCLR(width=8), images).inputs)
    axes = tuple(range(1, len(shape)))
    whole = (images / 255 - 0.5) / 0.25
    assert (np.abs(views[:, 0] - views[:, 1]).mean(axes) > 0.05).all()
    assert (np.abs(views[:, 0] - whole).mean(axes) > 0.05).all()
    assert views.min() >= -2 - 1e-4 and views.max() <= 2 + 1e-4


@pytest.mark.slow
def test_flip_is_along_the_last_spatial_axis_and_a_setting(make):
    """Without blur and with whole crops, only the direction of a ramp changes."""
    ramp = np.broadcast_to(np.arange(12)[None, None, :, None] * 20, (32, 12, 12, 1)).astype(
        np.uint8
    )
    for flip in (True, False):
        task = SimCLR(**PLAIN, flip=flip, blur=0.0)
        views = np.asarray(make(task, ramp).inputs)
        rising = np.diff(views.mean((2, 4)), axis=-1).mean(-1) > 0
        assert rising.all() if not flip else 15 < rising.sum() < 49
        np.testing.assert_allclose(views.std(2), 0, atol=1e-4)  # nothing along the other axis


def test_loss_falls_when_the_views_agree(quick_jit):
    z = np.random.default_rng(0).standard_normal((6, 2, 4)).astype(np.float32)
    batch = Batch(jnp.zeros((6, 2, 3, 3, 1)), ())
    loss = quick_jit(lambda z: SimCLR().loss(z, batch)[0])
    assert loss(np.repeat(z[:, :1], 2, 1)) < loss(z)
    constant = loss(np.ones((6, 2, 4), np.float32))
    np.testing.assert_allclose(constant, np.log(11), rtol=1e-5)
