"""The first state of a training, and the part of it that belongs to one task."""

import jax
import numpy as np

from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import SHARED, init_state, name_key


def same(a, b):
    """Trees equal bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_name_key_is_stable_between_machines():
    key = jax.random.key_data(name_key(jax.random.key(0), "backbone"))
    again = jax.random.key_data(jax.random.fold_in(jax.random.key(0), 0xAEAD643D))
    np.testing.assert_array_equal(key, again)  # 0xAEAD643D: CRC-32 of "backbone"


def test_weights_depend_on_key_and_name_alone(toy):
    one = {"contrast": toy.pool["contrast"]}
    whole, alone = toy.state(), toy.state(one)
    turned = toy.state(dict(reversed(toy.pool.items())))
    assert same(whole.params["backbone"], alone.params["backbone"])
    assert same(whole.params["heads"]["contrast"], alone.params["heads"]["contrast"])
    assert same(whole.params, turned.params)
    other = toy.state(key=1)
    assert not same(whole.params["backbone"], other.params["backbone"])
    assert not same(whole.params["heads"]["contrast"], other.params["heads"]["contrast"])


def test_heads_are_independent(toy):
    heads = toy.state().params["heads"]
    kernels = [np.asarray(heads[name]["Dense_0"]["kernel"]) for name in toy.pool]
    assert kernels[0].shape == kernels[1].shape
    assert np.abs(kernels[0] - kernels[1]).min() > 1e-4


def test_optimiser_state_is_per_group(toy):
    state = toy.state()
    assert set(state.opt_state) == {"backbone", "heads"}
    assert set(state.opt_state["heads"]) == set(toy.pool) == set(state.params["heads"])
    adam = state.opt_state["backbone"][SHARED][0]
    assert jax.tree.structure(adam.mu) == jax.tree.structure(state.params["backbone"])


def test_each_task_can_have_its_own_moments_of_the_backbone(toy):
    """A step changes those of its own task; the shapes of a step are the same either way."""
    optimiser = Optimiser()
    tasks = list(toy.pool.values())
    state = init_state(
        jax.random.key(0), toy.backbone, tasks, optimiser, toy.images, moments_per_task=True
    )
    assert set(state.opt_state["backbone"]) == set(toy.pool)
    part = state.only(["contrast"])
    assert jax.tree.structure(part) == jax.tree.structure(toy.state().only(["contrast"]))
    assert same(state.merge(part), state)
    merged = state.merge(jax.tree.map(lambda a: a + 1, part))
    moments = merged.opt_state["backbone"]
    assert same(moments["brightness"], state.opt_state["backbone"]["brightness"])
    assert int(moments["contrast"][0].count) == 1 + int(moments["brightness"][0].count)
    trained = toy.fit(state=state, steps=6, seed=3).opt_state
    for name in toy.pool:
        counts = [trained[group][name][0].count for group in ("backbone", "heads")]
        assert counts[0] == counts[1] > 0


def test_only_and_merge_are_inverse_and_keep_the_rest(toy):
    state = toy.state()
    part = state.only(["contrast"])
    assert set(part.params["heads"]) == set(part.opt_state["heads"]) == {"contrast"}
    assert same(state.merge(part), state)
    changed = jax.tree.map(lambda a: a + 1, part)
    merged = state.merge(changed)
    assert same(merged.params["heads"]["brightness"], state.params["heads"]["brightness"])
    assert same(merged.opt_state["heads"]["brightness"], state.opt_state["heads"]["brightness"])
    assert same(merged.only(["contrast"]), changed)


def test_starting_weights_are_copied(toy):
    """The state is donated to the step; the weights that it started from must survive."""
    source = toy.fit(steps=2)
    before = jax.tree.map(np.array, source.variables)
    begun = toy.state(key=5, variables=source.variables)
    assert same(begun.variables, before)
    assert not same(begun.params["heads"], source.params["heads"])
    kept = jax.tree.map(np.array, begun)
    trained = toy.fit(steps=2, state=begun)
    assert same(source.variables, before)
    assert same(begun, kept)  # `fit` copies too
    assert not same(trained.variables, before)
    jax.tree.map(lambda a: a.delete(), begun)  # as if the state itself were donated
    assert same(source.variables, before)
