"""Pools that learn from the finished networks of their tasks."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.strategies.network import Network
from assl_jax.strategies.settings import DistilSettings, SecondRun
from assl_jax.training import loop

SRC, ROTATION, POOL = Network(("src",)), Network(("rotation",)), Network(("src", "rotation"))


@pytest.fixture
def distilling(make_study):
    """`distilling(**settings)`: a study whose pools are distilled."""

    def make(**settings):
        distil = DistilSettings(**settings)
        return make_study(folds=0, seeds=1, mixing="distil", distil=distil).pretraining

    return make


@pytest.fixture
def fits(monkeypatch):
    """The arguments of every training."""
    seen, real = [], loop.fit

    def recorded(state, **settings):
        # The training donates its arrays, so they are copied.
        seen.append((jax.tree.map(np.asarray, state.params), settings))
        return real(state, **settings)

    monkeypatch.setattr("assl_jax.strategies.pretraining.fit", recorded)
    return seen


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


@pytest.mark.slow
def test_it_goes_on_from_the_first_tasks_network(distilling, fits):
    pretraining = distilling(weight=2.0)
    stage = pretraining.run(POOL)
    assert [list(s["tasks"]) for _, s in fits] == [["src"], ["rotation"], ["distillation"]]
    params, settings = fits[-1]
    task = settings["tasks"]["distillation"]
    assert (task.task.name, task.widths, task.weight, task.own) == ("src", (6,), 2.0, 1.0)
    assert settings["seed"] != fits[0][1]["seed"]  # other batches than those it has seen
    (teacher,) = settings["frozen"]
    assert equal(teacher.variables, pretraining.load(pretraining.run(ROTATION)))
    last = pretraining._last_state(
        pretraining.run(SRC), {"src": task.task}, pretraining.settings.training
    )
    assert equal(params["backbone"], last.params["backbone"])
    assert equal(params["heads"]["distillation"]["own"], last.params["heads"]["src"])
    trained = pretraining.load(stage)["params"]
    assert not equal(trained, params["backbone"])
    # The other order goes on from the other network; it is another stage.
    assert pretraining.run(Network(("rotation", "src"))).folder != stage.folder
    assert len(fits) == 4 and pretraining.run(POOL).folder == stage.folder


@pytest.mark.slow
def test_from_scratch_it_learns_from_all_of_them(distilling, fits):
    pretraining = distilling(start="scratch")
    pretraining.run(POOL)
    params, settings = fits[-1]
    assert settings["tasks"]["distillation"].own == 0.0 and len(settings["frozen"]) == 2
    assert not equal(params["backbone"], pretraining.load(pretraining.run(SRC))["params"])


def test_a_second_run_of_a_distilled_pool_is_refused(distilling):
    with pytest.raises(InputError, match="pretrain.mixing=distil"):
        distilling().run(Network(POOL.pool, SecondRun()))


@pytest.mark.parametrize("settings", [{"start": "scrach"}, {"weight": 0.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(InputError, match="distil."):
        DistilSettings(**settings)
