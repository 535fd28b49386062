"""Which learning rate a network is fine-tuned with, and what the choice costs."""

import dataclasses
import types

import msgspec
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.finetune import Target
from assl_jax.objectives.penalty import Penalty
from assl_jax.strategies.finetuning import FOR_RATES
from assl_jax.strategies.network import SCRATCH

RATES = (1e-6, 1e-2)


@pytest.fixture
def crafted(monkeypatch):
    """`crafted(by_rate)`: the probability of the true class in the folds, by learning rate.

    On the test set it is the opposite, so that a choice that looks there is another one.
    """

    def craft(by_rate):
        def tuned(self, *given, **more):
            rate = self.training.optimiser.learning_rate
            return types.SimpleNamespace(rate=rate, params={}, batch_stats={})

        def probabilities(self, state, rows):
            own = by_rate[state.rate] if rows.max() < 40 else 1 - by_rate[state.rate]
            right = np.eye(2)[self.labels[rows]]
            return (own * right + (1 - own) * (1 - right)).astype(np.float32)

        monkeypatch.setattr(Target, "finetune", tuned)
        monkeypatch.setattr(Target, "probabilities", probabilities)

    monkeypatch.setattr("assl_jax.strategies.evaluating.export_model", lambda *a, **k: None)
    return craft


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_the_rate_with_the_best_value_over_the_folds(make_study, crafted, metric):
    crafted({0.1: 0.2, 0.2: 0.9, 0.3: 0.9, 0.4: 0.4})  # the first of two equally good ones
    found = make_study(learning_rates=(0.1, 0.2, 0.3, 0.4), metric=metric).evaluate(SCRATCH)
    assert found.learning_rate == 0.2
    assert found.metrics["log_loss"].mean == pytest.approx(-np.log(0.1))  # of the test set
    best = -np.log(0.9) if metric == "log_loss" else 1.0
    assert found.selection.mean == pytest.approx(best)


def test_the_metric_decides(make_study, crafted):
    """Both are right everywhere; the second one is surer."""
    crafted({0.1: 0.8, 0.2: 0.9})
    for metric, rate in (("accuracy", 0.1), ("log_loss", 0.2)):
        study = make_study(learning_rates=(0.1, 0.2), metric=metric)
        assert study.evaluating.learning_rate(SCRATCH) == rate


@pytest.mark.slow
def test_the_chosen_rate_trains_everything_that_follows(make_study, steps_taken):
    study = make_study(learning_rates=RATES, metric="log_loss")
    found = study.evaluate(SCRATCH)
    # Two folds for each rate, two seeds on all labels, two folds for the selection; 2 steps each.
    assert len(steps_taken) == 2 * (2 * 2 + 2 + 2)
    # What studies with one rate measure on the folds that choose.
    alone = {rate: make_study(learning_rate=rate, metric="log_loss") for rate in RATES}
    folds = {r: one.evaluating.cross_validate(SCRATCH, FOR_RATES) for r, one in alone.items()}
    losses = {rate: np.mean(s.record.result.metrics["log_loss"]) for rate, s in folds.items()}
    assert losses[RATES[0]] != losses[RATES[1]]
    assert found.learning_rate == min(losses, key=losses.get)
    # The study with the chosen rate has the same stages, so nothing is trained again.
    steps_taken.clear()
    plain = alone[found.learning_rate].evaluate(SCRATCH)
    assert plain.learning_rate is msgspec.UNSET
    assert found == plain.replace(learning_rate=found.learning_rate)
    assert make_study(learning_rates=RATES, metric="log_loss").evaluate(SCRATCH) == found
    assert not steps_taken


def test_one_rate_needs_no_choice(make_study):
    study = make_study(learning_rates=(1e-2,))
    assert not study.evaluating.settings.chooses_rate
    assert study.evaluating.learning_rate(SCRATCH) == 1e-2
    assert len(study.evaluating.runs()) == 4


def test_without_selection_the_rate_is_still_chosen(make_study, crafted):
    crafted({0.1: 0.2, 0.2: 0.9})
    study = make_study(learning_rates=(0.1, 0.2), selects=False)
    found = study.evaluate(SCRATCH)
    assert found.learning_rate == 0.2 and found.selection is None
    kinds = [stage.record.kind for stage in study.setup.stages.finished]
    assert kinds == ["rate", "rate", "finetune"]


def test_the_folds_choose_nothing_else(make_study):
    evaluating = make_study(learning_rates=RATES).evaluating
    own = {tuple(run.test) for run in evaluating.folds(FOR_RATES).values()}
    seeds = {run.seed for run in evaluating.folds(FOR_RATES).values()}
    seeds_on_all = {run.seed for run in evaluating.test_runs().values()}
    assert not seeds & seeds_on_all
    for repeat in range(10):
        others = evaluating.folds(repeat).values()
        assert not own & {tuple(run.test) for run in others}
        assert not seeds & {run.seed for run in others}


def test_the_largest_seed_has_folds_too(make_study):
    study = make_study(seed=2**32 - 1)
    assert len(study.evaluating.folds(FOR_RATES)) == 2


def test_too_few_images_are_told_before_anything_is_trained(make_study):
    study = make_study(learning_rates=RATES, folds=9, selects=False)
    with pytest.raises(InputError, match="9-fold cross-validation needs 9.*target.learning_rates"):
        study.check(Penalty())


def test_a_rate_changes_the_stages_that_train_with_it(make_study):
    settings = make_study(learning_rates=RATES).evaluating.settings
    one = settings.at(RATES[1])
    assert one.training.optimiser.learning_rate == RATES[1] and not one.chooses_rate
    optimiser = dataclasses.replace(settings.training.optimiser, learning_rate=RATES[1])
    assert one.training == dataclasses.replace(settings.training, optimiser=optimiser)
