"""The first state of a training, and the part of it that belongs to one task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.objectives.alternating import Alternating
from assl_jax.objectives.distilled import Distilled
from assl_jax.objectives.joint import Joint
from assl_jax.objectives.penalised import Penalised
from assl_jax.objectives.penalty import Penalty
from assl_jax.tasks.byol import BYOL
from assl_jax.training.state import name_key


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
    whole, alone = toy.state(), toy.state(toy.contrast)
    turned = toy.state(Alternating((toy.contrast, toy.brightness)))
    assert same(whole.params["backbone"], alone.params["backbone"])
    assert same(whole.params["heads"]["contrast"], alone.params["heads"]["contrast"])
    assert same(whole.params, turned.params)
    other = toy.state(key=1)
    assert not same(whole.params["backbone"], other.params["backbone"])
    heads = [whole.params["heads"][n] for n in ("brightness", "contrast")]
    for one, two in (heads, [heads[1], other.params["heads"]["contrast"]]):
        kernels = [np.asarray(head["Dense_0"]["kernel"]) for head in (one, two)]
        assert kernels[0].shape == kernels[1].shape and np.abs(kernels[0] - kernels[1]).min() > 1e-4


def test_each_turn_has_its_own_moments_of_the_backbone(toy):
    """A step changes those of its own turn; its shapes do not depend on the pool."""
    state = toy.state()
    assert set(state.opt_state["backbone"]) == set(state.opt_state["heads"]) == set(state.carry)
    adam = state.opt_state["backbone"]["contrast"][0]
    assert jax.tree.structure(adam.mu) == jax.tree.structure(state.params["backbone"])
    part = state.only(toy.contrast)
    assert set(part.params["heads"]) == set(part.opt_state["heads"]) == {"contrast"}
    assert jax.tree.structure(part) == jax.tree.structure(toy.state(toy.contrast))
    assert same(state.merge(part), state)
    changed = jax.tree.map(lambda a: a + 1, part)
    merged = state.merge(changed)
    assert same(merged.only(toy.brightness).opt_state, state.only(toy.brightness).opt_state)
    assert same(merged.params["heads"]["brightness"], state.params["heads"]["brightness"])
    assert same(merged.only(toy.contrast), changed)
    joint = toy.state(Joint((toy.brightness, toy.contrast)))
    assert list(joint.opt_state["backbone"]) == ["joint"]


@pytest.mark.slow
def test_going_on_takes_the_network_and_what_belongs_to_it(toy):
    """BYOL with a penalty keeps its slow copy and gets a queue; moments and step begin anew."""
    byol = BYOL(hidden=4, width=3, crop_scale=1.0)
    trained = toy.state(byol, key=1)
    for objective in (
        Penalised(part=byol, penalty=Penalty(queue=2)),
        Distilled(part=byol, widths=(2,)),
    ):
        fresh = toy.state(objective)
        state = fresh.going_on(objective, trained)
        assert jax.tree.structure(state) == jax.tree.structure(fresh)
        assert same(state.variables, trained.variables) and same(state.opt_state, fresh.opt_state)
        head, carry = state.params["heads"][objective.name], state.carry[objective.name]
        if isinstance(objective, Distilled):
            assert same(head["own"], trained.params["heads"]["byol"])
            assert same(head["projector0"], fresh.params["heads"]["distillation"]["projector0"])
        else:
            assert same(head, trained.params["heads"]["byol"])
            assert carry.queue.own.shape == (8, 4) and not jnp.any(carry.queue.own)
            carry = carry.own
        assert same(carry, trained.carry["byol"])
    assert toy.state(Distilled(part=byol, widths=(2,), own=0.0)).carry == {"distillation": ()}


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
