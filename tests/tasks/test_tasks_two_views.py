"""SimCLR, VICReg and BYOL: their two views, what losses prefer, and what BYOL's slow copy says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.objectives.base import Weights
from assl_jax.tasks import Batch
from assl_jax.tasks.byol import BYOL
from assl_jax.tasks.simclr import SimCLR
from assl_jax.tasks.vicreg import VICReg

PLAIN = {"jitter": 0.0, "grey": 0.0}


def loss_of(task, outputs, targets=()):
    batch = Batch(jnp.zeros((len(jax.tree.leaves(outputs)[0]), 2, 3, 3, 1)), targets)
    loss, metrics = task.loss(outputs, batch)
    return float(loss), {name: float(value) for name, value in metrics.items()}


def test_vicreg_by_hand():
    """Two images with standard deviations of sqrt 2 and 0, and no covariance."""
    z = jnp.array([[[1.0, 3.0]] * 2, [[-1.0, 3.0]] * 2])
    loss, terms = loss_of(VICReg(), z)
    assert terms["invariance"] == 0 and terms["covariance"] == 0
    assert terms["variance"] == pytest.approx((0 + (1 - 0.01)) / 2, rel=1e-5)
    assert loss == pytest.approx(25 * terms["variance"], rel=1e-6)
    # One view moves by 1 in a feature of constant value: (1 + 0) / 2 on average.
    moved = z.at[:, 0, 1].add(1.0)
    assert loss_of(VICReg(), moved)[1]["invariance"] == pytest.approx(0.5)
    # Two equal features: covariance 2 twice, squared, over 2 features, for each of the two views.
    equal = jnp.repeat(z[..., :1], 2, axis=-1)
    assert loss_of(VICReg(), equal)[1]["covariance"] == pytest.approx(2 * (4 + 4) / 2)


def test_byol_compares_the_prediction_with_the_other_view():
    targets = jnp.array([[[2.0, 0.0], [0.0, 3.0]]])
    other = jnp.array([[[0.0, 1.0], [1.0, 0.0]]])
    assert loss_of(BYOL(), (None, other), targets)[0] == pytest.approx(0.0, abs=1e-6)
    assert loss_of(BYOL(), (None, targets), targets)[0] == pytest.approx(2.0)
    assert loss_of(BYOL(), (None, -other), targets)[0] == pytest.approx(4.0)


@pytest.mark.parametrize("collapsed", [True, False])
def test_byol_shows_a_collapse(collapsed):
    z = np.random.default_rng(0).normal(size=(64, 2, 16)).astype(np.float32)
    z = z[:1, :1] + 0 * z if collapsed else z
    z = jnp.asarray(z)
    spread = loss_of(BYOL(), (None, z), z)[1]["target_spread"]
    assert spread == pytest.approx(0.0 if collapsed else 1.0, abs=0.05)


@pytest.mark.slow
def test_byols_targets_come_from_the_average_and_get_no_gradient(
    make, objective, coordinates, quick_jit
):
    task = BYOL(hidden=4, width=3)
    batch = make(task, coordinates(4, 12, 12).astype(np.uint8))
    variables, loss = objective(task, batch)
    head = variables["head"]["params"]
    gradients = quick_jit(jax.grad(lambda v: loss(v, batch)[0]))(variables)
    assert max(np.abs(g).max() for g in jax.tree.leaves(gradients)) > 0

    class Means:
        def apply(self, variables, x, train, mutable, rngs):
            assert train and mutable == ["batch_stats"] and set(rngs) == {"dropout"}
            x = x.reshape(len(x), -1)
            return {"pooled": x[:, : len(head["projector"]["Dense_0"]["kernel"])] * variables}, {}

    def targets(scale):
        return task.prepare(batch, Means(), Weights(scale, head), None).targets

    assert targets(1.0).shape == (4, 2, 3)
    assert np.abs(targets(1.0) - targets(0.0)).max() > 1e-3
    assert not quick_jit(jax.grad(lambda scale: targets(scale).sum()))(1.0)


def test_byols_slow_copy_moves_by_a_share_of_the_way():
    old, new = Weights({"params": jnp.zeros(2)}, jnp.ones(3)), Weights({"params": jnp.ones(2)}, 0.0)
    moved = BYOL(momentum=0.75).after_step(old, new._replace(head=jnp.zeros(3)))
    np.testing.assert_array_equal(moved.variables["params"], [0.25, 0.25])
    np.testing.assert_array_equal(moved.head, [0.75] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 12, 12, 3), (6, 8, 8, 8, 1)])
def test_both_views_of_simclr_come_from_their_own_image(make, shape):
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
def test_the_flip_of_simclr_is_along_the_last_spatial_axis_and_a_setting(make):
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


def test_simclrs_loss_falls_when_the_views_agree():
    z = jnp.asarray(np.random.default_rng(0).standard_normal((6, 2, 4)), jnp.float32)
    assert loss_of(SimCLR(), jnp.repeat(z[:, :1], 2, 1))[0] < loss_of(SimCLR(), z)[0]
    constant, _ = loss_of(SimCLR(), jnp.ones((6, 2, 4)))
    assert constant == pytest.approx(np.log(11), rel=1e-5)


@pytest.mark.slow
def test_small_images_get_half_of_the_jitter(make):
    """The mean brightness of constant images varies half as much."""
    settings = {"jitter": 0.8, "grey": 0.0, "blur": 0.0}
    spread = {
        side: np.ptp(make(SimCLR(**settings), np.full((256, side, side, 1), 100, np.uint8)).inputs)
        for side in (32, 64)
    }
    assert spread[64] == pytest.approx(2 * spread[32], rel=0.1)
