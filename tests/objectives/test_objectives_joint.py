"""Joint steps against a plain loop; how gradients are combined."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.objectives.gradients import balanced_mean, global_norm
from assl_jax.objectives.joint import Joint, shares
from assl_jax.training.loop import Logging
from assl_jax.training.optimiser import Optimiser


@pytest.mark.slow
def test_equal_to_a_plain_loop(toy, quick_jit):
    log, pool = toy.Log(), Joint((toy.brightness, toy.contrast))
    optimiser = Optimiser(learning_rate=0.01, schedule="constant")
    state = toy.fit(pool, steps=3, optimiser=optimiser, logging=Logging(record=log, every=3))
    plain = toy.plain_steps(pool, optimiser, 3, quick_jit)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    jax.tree.map(close, (state.params, state.batch_stats), plain)
    # Each task has its own record, and every head has taken every step.
    assert [r["task"] for r in log.records] == ["brightness", "contrast"]
    assert all(np.isfinite(r["loss"]) and r["gradient_norm"] > 0 for r in log.records)
    counts = [s[0].count for group in state.opt_state.values() for s in group.values()]
    assert [int(count) for count in counts] == [3, 3, 3]


def test_gradients_are_combined_as_declared():
    gradients = [{"w": jnp.array([value, 0.0])} for value in (30.0, 0.1, 0.0)]
    # Mean norm 30.1 / 3 for two of three; a task without a gradient stays without one.
    np.testing.assert_allclose(balanced_mean(gradients)["w"], [30.1 / 3 * 2 / 3, 0], rtol=1e-6)
    # Next to none is scaled up by 1000 at most.
    gradients[2] = {"w": jnp.array([0.0, 1e-9])}
    np.testing.assert_allclose(balanced_mean(gradients)["w"][1], 1e-6 / 3, rtol=1e-6)
    assert balanced_mean(gradients[:1]) is gradients[0]


def test_norm_of_parameters_of_every_rank():
    rng = np.random.default_rng(0)
    shapes = [(), (5,), (4, 3), (3, 4, 5), (3, 3, 2, 4), (2, 3, 3, 4, 5)]
    gradients = {str(len(shape)): rng.normal(size=shape).astype(np.float32) for shape in shapes}
    want = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()))
    np.testing.assert_allclose(global_norm(gradients), want, rtol=1e-6)


def test_shares_are_disjoint_and_complete():
    found = shares((np.arange(7), np.arange(7, 14)), 2)
    assert sorted(np.concatenate([images for images, _ in found])) == list(range(7))
    assert [len(images) for images, _ in found] == [4, 3]
    assert all((labels == images + 7).all() for images, labels in found)
