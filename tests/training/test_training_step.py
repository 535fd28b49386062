"""A compiled step against a plain one; what it does not change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.objectives.alternating import Alternating
from assl_jax.objectives.penalised import Penalised
from assl_jax.objectives.penalty import Penalty
from assl_jax.training.feed import Examples
from assl_jax.training.loop import schedule
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.step import _cached, make_step

GROUPS = ("backbone", "heads")


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.5, "clip_norm": 0.05}])
def test_equal_to_a_plain_step(toy, quick_jit, more):
    optimiser = Optimiser(learning_rate=0.01, schedule="constant", **more)
    state = toy.fit(toy.contrast, steps=3, optimiser=optimiser)
    plain = toy.plain_steps(toy.contrast, optimiser, 3, quick_jit)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    jax.tree.map(close, (state.params, state.batch_stats), plain)
    kernels = [s.params["backbone"]["conv"]["kernel"] for s in (toy.state(toy.contrast), state)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.02


def test_a_step_does_not_change_other_tasks(toy):
    state = toy.fit(steps=4)  # after it no moment is zero
    before = jax.tree.map(np.array, state)
    step = make_step(toy.backbone, toy.brightness, Optimiser())
    part, metrics = step(
        state.only(toy.brightness),
        Examples(jnp.asarray(toy.images), jnp.arange(8)),
        jax.random.key(1),
        np.float32(0.1),
    )
    after = state.merge(part)
    assert set(metrics["brightness"]) == {"loss", "gradient_norm", "largest"}
    assert int(after.step) == int(before.step) + 1

    def unchanged(groups):
        return jax.tree.map(np.array_equal, groups(before), jax.tree.map(np.asarray, groups(after)))

    for of in (lambda s: s.params["heads"], *(lambda s, g=g: s.opt_state[g] for g in GROUPS)):
        assert all(jax.tree.leaves(unchanged(lambda s, of=of: of(s)["contrast"])))
        assert not any(jax.tree.leaves(unchanged(lambda s, of=of: of(s)["brightness"])))
    assert not any(jax.tree.leaves(unchanged(lambda s: s.params["backbone"])))


def test_every_turn_counts_its_own_steps(toy):
    state = toy.fit(steps=6, seed=3)
    counts = np.bincount(schedule(2, 6, 3), minlength=2)
    assert counts.min() > 0
    for group in GROUPS:
        found = [int(state.opt_state[group][name][0].count) for name in ("brightness", "contrast")]
        assert found == counts.tolist()


@pytest.mark.slow
def test_every_task_is_traced_and_compiled_once(toy):
    """Other pools, seeds, lengths, rates, epochs and first weights compile nothing again."""
    optimiser = Optimiser(learning_rate=0.02)
    states = [toy.state(), toy.state(key=1), toy.state(toy.contrast)]
    _cached.cache_clear()
    toy.made.clear()
    toy.fit(state=states[0], optimiser=optimiser, steps=12)
    toy.fit(state=states[1], optimiser=optimiser, steps=6, seed=9)
    toy.fit(toy.contrast, state=states[2], optimiser=optimiser, steps=3)
    assert sorted(toy.made) == ["brightness", "contrast"]
    for task in toy.pool.parts:
        assert make_step(toy.backbone, task, optimiser)._cache_size() == 1
    penalty = Penalty(weight=0.5, queue=0)
    pool = Alternating(tuple(Penalised(part=task, penalty=penalty) for task in toy.pool.parts))
    state = toy.state(pool)
    toy.made.clear()
    for seed in (0, 1):
        frozen = {"first": toy.state(key=seed).variables}
        toy.fit(pool, state=state, frozen=frozen, optimiser=optimiser, seed=seed)
    assert sorted(toy.made) == ["brightness", "contrast"]
