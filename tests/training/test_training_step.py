"""A compiled step against a plain one; what it does not change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from assl_jax.training.feed import Examples
from assl_jax.training.loop import batch_indices, task_schedule
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.penalty import Penalty
from assl_jax.training.state import SHARED
from assl_jax.training.step import _cached, make_step


def close(a, b, atol=1e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=atol), a, b)


def plain_steps(toy, task, optimiser, steps, quick_jit, seed=0):
    """Backbone and head trained together by optax's own AdamW, only the gradient compiled."""
    state = toy.state({task.name: task}, optimiser=optimiser)
    params = {"backbone": state.params["backbone"], "head": state.params["heads"][task.name]}
    stats = state.batch_stats
    clip = [optax.clip_by_global_norm(optimiser.clip_norm)] if optimiser.clip_norm else []
    adam = optax.adamw(
        optimiser.learning_rate,
        weight_decay=optimiser.weight_decay,
        mask=jax.tree.map(lambda p: p.ndim > 1, params),
    )
    chain = optax.chain(*clip, adam)
    moments = chain.init(params)

    def loss_of(params, stats, batch):
        variables = {"params": params["backbone"], "batch_stats": stats}
        features, new = toy.backbone.apply(
            variables, batch.inputs[:, 0], train=True, mutable=["batch_stats"]
        )
        features = {"pooled": features["pooled"][:, None]}
        outputs = task.head().apply({"params": params["head"]}, features, batch)
        return task.loss(outputs, batch)[0], new["batch_stats"]

    gradient = quick_jit(jax.grad(loss_of, has_aux=True))
    for step in range(steps):
        images = jnp.asarray(toy.images)[batch_indices(toy.rows, 8, step, seed)]
        batch = task.make_batch(jax.random.fold_in(jax.random.key(seed), step), images)
        grads, stats = gradient(params, stats, batch)
        updates, moments = chain.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
    return params, stats


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.5, "clip_norm": 0.05}])
def test_equal_to_a_plain_step(toy, quick_jit, more):
    optimiser = Optimiser(learning_rate=0.01, schedule="constant", **more)
    task = toy.pool["contrast"]
    state = toy.fit(tasks={"contrast": task}, steps=3, optimiser=optimiser)
    params, stats = plain_steps(toy, task, optimiser, 3, quick_jit)
    close(state.params, {"backbone": params["backbone"], "heads": {"contrast": params["head"]}})
    close(state.batch_stats, stats)
    start = toy.state({"contrast": task}).params["backbone"]["conv"]["kernel"]
    assert np.abs(start - params["backbone"]["conv"]["kernel"]).max() > 0.02


def test_a_step_does_not_change_other_tasks(toy):
    state = toy.fit(steps=4)  # after it no moment is zero
    before = jax.tree.map(np.array, state)
    step = make_step(toy.backbone, toy.pool["brightness"], Optimiser())
    part, metrics = step(
        state.only(["brightness"]),
        Examples(jnp.asarray(toy.images), jnp.arange(8)),
        jax.random.key(1),
        np.float32(0.1),
    )
    after = state.merge(part)
    assert set(metrics) >= {"loss", "largest"}
    assert int(after.step) == int(before.step) + 1

    def unchanged(groups):
        return jax.tree.map(np.array_equal, groups(before), jax.tree.map(np.asarray, groups(after)))

    for of in (lambda s: s.params, lambda s: s.opt_state):
        assert all(jax.tree.leaves(unchanged(lambda s, of=of: of(s)["heads"]["contrast"])))
        assert not any(jax.tree.leaves(unchanged(lambda s, of=of: of(s)["heads"]["brightness"])))
        assert not any(jax.tree.leaves(unchanged(lambda s, of=of: of(s)["backbone"])))


def test_every_head_counts_its_own_steps(toy):
    state = toy.fit(steps=6, seed=3)
    counts = np.bincount(task_schedule(2, 6, 3), minlength=2)
    assert counts.min() > 0
    assert int(state.opt_state["backbone"][SHARED][0].count) == 6
    for name, count in zip(toy.pool, counts, strict=True):
        assert int(state.opt_state["heads"][name][0].count) == count


@pytest.mark.slow
def test_every_task_is_traced_and_compiled_once(toy):
    """Other pools, seeds, lengths, rates, epochs and first weights compile nothing again."""
    optimiser = Optimiser(learning_rate=0.02)
    alone = {"contrast": toy.pool["contrast"]}
    states = [toy.state(), toy.state(key=1), toy.state(alone)]
    _cached.cache_clear()
    toy.made.clear()
    toy.fit(state=states[0], optimiser=optimiser, steps=12)
    toy.fit(state=states[1], optimiser=optimiser, steps=6, seed=9)
    toy.fit(state=states[2], optimiser=optimiser, steps=3, tasks=alone)
    toy.fit(penalty=Penalty(weight=0.0), frozen=states[0].variables, optimiser=optimiser, steps=3)
    assert sorted(toy.made) == ["brightness", "contrast"]
    for task in toy.pool.values():
        assert make_step(toy.backbone, task, optimiser)._cache_size() == 1
    for seed in (0, 1):
        frozen = toy.state(key=seed).variables
        toy.fit(penalty=Penalty(weight=0.5, queue=0), frozen=frozen, optimiser=optimiser, seed=seed)
    assert sorted(toy.made) == 2 * ["brightness"] + 2 * ["contrast"]
