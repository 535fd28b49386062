"""Joint steps against a plain loop; how gradients are combined."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from assl_jax.errors import InputError
from assl_jax.training.joint import Joint, JointSettings
from assl_jax.training.loop import Logging, batch_indices
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import SHARED


def plain_joint_steps(toy, settings, steps, quick_jit):
    """Both tasks on every other image; one Adam for everything, only the gradients compiled."""
    state = toy.state()
    params, stats = state.params, state.batch_stats
    adam = optax.adam(0.01)
    moments = adam.init(params)

    def loss_of(params, stats, batch, task):
        variables = {"params": params["backbone"], "batch_stats": stats}
        features, new = toy.backbone.apply(
            variables, batch.inputs[:, 0], train=True, mutable=["batch_stats"]
        )
        features = {"pooled": features["pooled"][:, None]}
        outputs = task.head().apply({"params": params["heads"][task.name]}, features, batch)
        return task.loss(outputs, batch)[0], new["batch_stats"]

    gradients = {
        name: quick_jit(jax.grad(functools.partial(loss_of, task=task), has_aux=True))
        for name, task in toy.pool.items()
    }
    weights = {"brightness": 1 / (1 + settings.weight), "contrast": settings.weight}
    weights["contrast"] /= 1 + settings.weight
    for step in range(steps):
        images = jnp.asarray(toy.images)[batch_indices(toy.rows, 8, step, 0)]
        key = jax.random.fold_in(jax.random.key(0), step)
        found = {}
        for k, (name, task) in enumerate(toy.pool.items()):
            batch = task.make_batch(key, images[k::2])
            found[name], stats = gradients[name](params, stats, batch)
        norms = {n: float(optax.tree.norm(g["backbone"])) for n, g in found.items()}
        mean = sum(norms.values()) / 2
        grads = {"backbone": None, "heads": {n: g["heads"][n] for n, g in found.items()}}
        scale = {
            n: weights[n] * (mean / norms[n] if settings.balance == "gradient" else 1.0)
            for n in found
        }
        grads["backbone"] = jax.tree.map(
            lambda a, b, s=scale: s["brightness"] * a + s["contrast"] * b,
            *(found[n]["backbone"] for n in toy.pool),
        )
        updates, moments = adam.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
    return params, stats


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [JointSettings(), JointSettings(balance="equal", weight=3.0)], ids=str
)
def test_equal_to_a_plain_loop(toy, quick_jit, settings):
    log = toy.Log()
    optimiser = Optimiser(learning_rate=0.01, schedule="constant")
    state = toy.fit(
        joint=settings, steps=3, optimiser=optimiser, logging=Logging(record=log, every=3)
    )
    params, stats = plain_joint_steps(toy, settings, 3, quick_jit)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    jax.tree.map(close, state.params, params)
    jax.tree.map(close, state.batch_stats, stats)
    # Each task has its own record, and every head has taken every step.
    assert [r["task"] for r in log.records] == ["brightness", "contrast"]
    assert all(np.isfinite(r["loss"]) and r["gradient_norm"] > 0 for r in log.records)
    assert [int(s[0].count) for s in state.opt_state["heads"].values()] == [3, 3]
    assert int(state.opt_state["backbone"][SHARED][0].count) == 3


def test_gradients_are_combined_as_declared():
    def gradient(name, value):
        return {"backbone": {"w": jnp.array([value, 0.0])}, "heads": {name: jnp.array(value)}}

    gradients = {"a": gradient("a", 30.0), "b": gradient("b", 0.1), "c": gradient("c", 0.0)}
    # Mean norm 30.1 / 3; weights 1, 2, 2 of 5; a task without a gradient stays without one.
    balanced = Joint((), JointSettings(weight=2.0)).combine(gradients)
    np.testing.assert_allclose(balanced["backbone"]["w"], [30.1 / 3 * 3 / 5, 0.0], rtol=1e-6)
    equal = Joint((), JointSettings(balance="equal")).combine(gradients)
    np.testing.assert_allclose(equal["backbone"]["w"], [30.1 / 3, 0.0], rtol=1e-6)
    assert {n: float(g) for n, g in equal["heads"].items()} == pytest.approx(
        {"a": 30.0, "b": 0.1, "c": 0.0}
    )


def test_shares_are_disjoint_and_complete(toy):
    pool = Joint(tuple(toy.pool.values()))
    images = np.arange(7)
    shares = [pool.share(images, k) for k in range(2)]
    assert sorted(np.concatenate(shares)) == list(images)
    assert [pool.size(7, k) for k in range(2)] == [len(s) for s in shares] == [4, 3]


@pytest.mark.parametrize("settings", [{"balance": "none"}, {"weight": 0.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(InputError, match=f"joint.{next(iter(settings))}"):
        JointSettings(**settings)
