"""Learning rates, weight decay and clipping, worked out by hand."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from assl_jax.objectives.gradients import global_norm
from assl_jax.training import optimiser
from assl_jax.training.optimiser import Optimiser

PARAMS = {"kernel": jnp.asarray([[2.0, -4.0]]), "bias": jnp.asarray([2.0])}


def updates(settings, grads, params=PARAMS):
    transform = settings.transform()
    return transform.update(grads, transform.init(params), params)[0]


def test_cosine_with_warmup():
    cosine = Optimiser(learning_rate=0.6, warmup=0.2)
    rates = [cosine.rate(step, 10) for step in range(11)]
    expected = [0.2, 0.4, 0.6]  # two steps of warm-up, then the peak
    expected += [0.3 * (1 + math.cos(math.pi * k / 8)) for k in range(1, 9)]
    np.testing.assert_allclose(rates, expected, atol=1e-12)
    assert rates[6] == pytest.approx(0.3) and rates[10] == pytest.approx(0.0)


def test_constant_and_without_warmup():
    constant = Optimiser(learning_rate=0.6, warmup=0.2, schedule="constant")
    rates = [constant.rate(step, 10) for step in range(10)]
    np.testing.assert_allclose(rates, [0.2, 0.4, *[0.6] * 8])
    assert Optimiser(learning_rate=0.6).rate(0, 10) == 0.6
    assert Optimiser(learning_rate=0.6).rate(5, 10) == pytest.approx(0.3)


def test_one_step_trains():
    assert Optimiser(learning_rate=0.6).rate(0, 1) == 0.6
    assert Optimiser(learning_rate=0.6, warmup=0.9).rate(0, 1) > 0


def test_first_adam_update_is_the_sign_of_the_gradient():
    grads = {"kernel": jnp.asarray([[0.3, -7.0]]), "bias": jnp.asarray([1e-3])}
    up = updates(Optimiser(), grads)
    np.testing.assert_allclose(up["kernel"], [[1.0, -1.0]], rtol=1e-4)
    np.testing.assert_allclose(up["bias"], [1.0], rtol=1e-4)


def test_weight_decay_acts_on_kernels_only():
    zeros = {"kernel": jnp.zeros((1, 2)), "bias": jnp.zeros(1)}
    up = updates(Optimiser(weight_decay=0.1), zeros)
    np.testing.assert_allclose(up["kernel"], [[0.2, -0.4]], rtol=1e-6)
    np.testing.assert_array_equal(up["bias"], [0.0])


def test_what_a_compiled_step_depends_on():
    rate = Optimiser(learning_rate=0.1, schedule="constant", warmup=0.2)
    assert rate.compiled == Optimiser().compiled
    for other in ({"weight_decay": 0.1}, {"clip_norm": 1.0}):
        assert Optimiser(**other).compiled != Optimiser().compiled


def test_clip_scales_the_whole_tree():
    grads = {"backbone": jnp.asarray([3.0]), "heads": {"a": jnp.asarray([[4.0]])}}
    norm = global_norm(grads)
    assert norm == 5.0
    clipped = Optimiser(clip_norm=1.0).clip(grads, norm)
    np.testing.assert_allclose(clipped["backbone"], [0.6], rtol=1e-6)
    np.testing.assert_allclose(clipped["heads"]["a"], [[0.8]], rtol=1e-6)
    for untouched in (o.clip(grads, norm) for o in (Optimiser(), Optimiser(clip_norm=6.0))):
        np.testing.assert_array_equal(untouched["backbone"], [3.0])
        np.testing.assert_array_equal(untouched["heads"]["a"], [[4.0]])


@pytest.mark.parametrize(
    "entry, kernel, bias",
    [
        # SGD: the direction is the gradient, with the decay 0.1 * (2, -4) added.
        (lambda decay: decay, [[0.5, -7.4]], 1e-3),
        # As LAMB: the ratio of the norms of weights and direction sees the decay, here sqrt(20) to
        # that of (0.3 + 0.2, -7 - 0.4), and for the bias 2 to 0.001.
        (
            lambda decay: optax.chain(decay, optax.scale_by_trust_ratio()),
            (np.array([[0.5, -7.4]]) * math.sqrt(20 / (0.25 + 7.4**2))).tolist(),
            2.0,
        ),
    ],
)
def test_another_optimiser_is_one_entry(monkeypatch, entry, kernel, bias):
    monkeypatch.setitem(optimiser.OPTIMISERS, "own", entry)
    grads = {"kernel": jnp.asarray([[0.3, -7.0]]), "bias": jnp.asarray([1e-3])}
    up = updates(Optimiser(algorithm="own", weight_decay=0.1), grads)
    np.testing.assert_allclose(up["kernel"], kernel, rtol=1e-5)
    np.testing.assert_allclose(up["bias"], [bias], rtol=1e-5)
