"""How singles, pools and the control depend on the way in which pools are trained."""

import shutil

import jax
import pytest

from assl_jax.errors import InputError
from assl_jax.strategies.network import Network
from assl_jax.training.checkpoint import Checkpoints

POOL = ("src", "rotation")
SRC, ROTATION, BOTH = Network(("src",)), Network(("rotation",)), Network(POOL)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", ["alternate", "joint", "distil"])
def test_a_control_has_the_operations_of_the_pool_and_of_its_parts(make_study, mixing):
    """Of the single networks too, which an alternating pool does not build on but a search has."""
    pretraining = make_study(folds=0, seeds=1, mixing=mixing).pretraining
    each = pretraining.mixing.flops_of_a_step
    steps = pretraining.training_of(Network(("src",), as_long_as=POOL)).steps
    expected = 4 * (each(SRC) + each(ROTATION) + each(BOTH)) / each(SRC)
    assert steps == round(expected) and steps > 8


@pytest.mark.slow
def test_a_single_network_does_not_depend_on_how_pools_are_trained(make_study, steps_taken):
    """Its checkpoint can be continued by any pool: other settings of pools find and read it."""
    first = make_study(folds=0, seeds=1)
    first.pretraining.run(SRC), first.pretraining.run(ROTATION)
    steps_taken.clear()
    for mixing in ("distil", "joint"):
        make_study(folds=0, seeds=1, mixing=mixing).pretraining.run(BOTH)
    assert set(steps_taken) == {"distillation", "joint"}


@pytest.mark.slow
def test_a_checkpoint_of_another_form_is_one_line(make_study, monkeypatch):
    study = make_study(folds=0, seeds=1, mixing="distil")
    pretraining = study.pretraining
    folder = pretraining.run(SRC).folder / "checkpoints"
    task = study.setup.tasks["src"]
    like = pretraining.fresh(jax.random.key(0), task, pretraining.settings.training)
    shutil.rmtree(folder)
    checkpoints = Checkpoints(folder)
    checkpoints.save(4, like._asdict() | {"carry": None, "more": like.step})
    checkpoints.close()
    with pytest.raises(InputError, match="does not fit this version; delete that folder"):
        pretraining.run(BOTH)
