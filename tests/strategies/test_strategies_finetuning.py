"""Fine-tunings: which images they see, which learning rate they have, what they leave."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from assl_jax.errors import InputError, Interrupted
from assl_jax.evaluation.export import load_model
from assl_jax.evaluation.finetune import Target
from assl_jax.evaluation.scores import METRICS, Metric
from assl_jax.files import read_array
from assl_jax.records import SCRATCH, Network
from assl_jax.strategies import evidence, finetuning
from assl_jax.strategies.finetuning import (
    FOR_RATES,
    cross_validate,
    finetune,
    on_all_labels,
    on_folds,
    predictions,
)
from assl_jax.training import loop

SRC, RATE = Network(tasks=("src",)), 1e-3
RATES = (1e-6, 1e-2)


def test_runs_and_their_rows(lab):
    study = lab(seeds=3).study
    runs = {**on_all_labels(study), **on_folds(study)}
    assert list(runs) == ["test 0 0", "test 0 1", "test 0 2", "cv 0 0", "cv 0 1"]
    labelled, test = set(range(24, 40)), set(range(40, 60))
    for name, (train, judged, *_) in runs.items():
        assert set(judged) <= (test if name.startswith("test") else labelled)
        assert not set(train) & set(judged)
    assert set(runs["test 0 0"].train) == labelled
    held_out = [set(runs[name].test) for name in ("cv 0 0", "cv 0 1")]
    assert held_out[0] | held_out[1] == labelled and not held_out[0] & held_out[1]
    assert len({run.seed for run in runs.values()}) == 5
    # Every labelled set is used.
    sets = (np.arange(24, 40), np.arange(24, 32))
    study = lab(dataset=dataclasses.replace(study.dataset, labelled_sets=sets), seeds=1).study
    assert list(on_all_labels(study)) == ["test 0 0", "test 1 0"]
    assert list(on_folds(study)) == ["cv 0 0", "cv 0 1", "cv 1 0", "cv 1 1"]
    assert len(on_all_labels(study)["test 1 0"].train) == 8


def test_every_division_has_folds_and_seeds_of_its_own(lab):
    """Also the one that chooses learning rates, and with the largest seed."""
    for seed in (0, 2**32 - 1):
        study = lab(seed=seed).study
        divisions = [on_folds(study, k).values() for k in (FOR_RATES, *range(10))]
        tests = {frozenset(run.test) for runs in divisions for run in runs}
        seeds = {run.seed for runs in (*divisions, on_all_labels(study).values()) for run in runs}
        assert (len(tests), len(seeds)) == (2 * 11, 2 * 11 + 2)


def test_folds_keep_patients_together(lab):
    dataset = lab().study.dataset
    patients = np.arange(60) // 4 * 2 + dataset.labels  # two images each, of one class
    for run in on_folds(
        lab(dataset=dataclasses.replace(dataset, patients=patients)).study
    ).values():
        assert not set(patients[run.train]) & set(patients[run.test])
    apart = on_folds(lab().study)["cv 0 0"]
    assert set(patients[apart.train]) & set(patients[apart.test])


def same(lab, stage, other, of):
    assert stage.record.result == of.record.result
    np.testing.assert_array_equal(predictions(stage), predictions(of))


@pytest.mark.slow
def test_images_on_the_host_give_the_same_results(lab):
    device, host = (lab(folder=place, placement=place) for place in ("device", "host"))
    stages = [tiny.run(finetune(tiny.study, SRC, RATE)) for tiny in (device, host)]
    same(device, stages[0], host, stages[1])


@pytest.mark.slow
def test_the_fine_tuned_model_is_kept_whole(lab):
    """It loads, and predicts what the stage holds; the labels lie beside the predictions."""
    tiny = lab(seeds=1)
    stage, dataset = tiny.run(finetune(tiny.study, SCRATCH, RATE)), tiny.study.dataset
    model = load_model(stage.folder)
    images = model.intensity(jnp.asarray(dataset.images[dataset.test]))
    pooled = tiny.study.backbone.apply(model.variables, images)["pooled"]
    logits = pooled @ model.kernel + model.bias[None]
    (found,) = predictions(stage)
    np.testing.assert_allclose(jax.nn.softmax(logits), found, atol=1e-5)
    folder = stage.folder / "predictions"
    np.testing.assert_array_equal(read_array(folder / "labels.npy"), dataset.labels[dataset.test])
    np.testing.assert_array_equal(read_array(folder / "groups.npy"), dataset.groups[dataset.test])


def test_killed_while_fine_tuning(lab, monkeypatch):
    other = lab(folder="whole")
    whole = other.run(finetune(other.study, SCRATCH, RATE))
    real, tuned = Target.finetune, []

    def until(limit):
        def tune(self, variables, rows, session, *more):
            if len(tuned) == limit:
                raise Interrupted("stopped")
            tuned.append(session.seed)
            return real(self, variables, rows, session, *more)

        return tune

    def run():
        tiny = lab()
        return tiny, tiny.run(finetune(tiny.study, SCRATCH, RATE))

    monkeypatch.setattr(Target, "finetune", until(1))
    with pytest.raises(Interrupted):
        run()
    (folder,) = lab().folder.glob("finetune-*")
    assert [p.name for p in (folder / "predictions").iterdir()] == ["test_0_0.npy"]
    assert not (folder / "done.json").exists()
    monkeypatch.setattr(Target, "finetune", until(2))
    tiny, stage = run()
    same(tiny, stage, other, whole)
    assert len(tuned) == 2  # the last one alone was left to do


def test_stopped_inside_a_fine_tuning_it_goes_on_there(lab, steps_taken, monkeypatch):
    other, tiny = lab(folder="whole"), lab()
    whole = other.run(finetune(other.study, SCRATCH, RATE))
    asked = iter([False, False, True])  # the first step of the second fine-tuning
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="step 1 of 2"):
        patch.setattr(loop, "stop_requested", lambda _: next(asked))
        tiny.run(finetune(tiny.study, SCRATCH, RATE))
    steps_taken.clear()
    stage = tiny.run(finetune(tiny.study, SCRATCH, RATE))
    assert len(steps_taken) == 1 and not (stage.folder / "checkpoints").exists()
    same(tiny, stage, other, whole)


def test_a_head_that_is_not_finite_reaches_no_table(lab, monkeypatch):
    def diverged(state, *given, **more):
        heads = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), state.params["heads"])
        return state._replace(params={**state.params, "heads": heads})

    monkeypatch.setattr("assl_jax.evaluation.finetune.fit", diverged)
    tiny = lab()
    with pytest.raises(InputError, match="^network from scratch has weights of its linear head"):
        tiny.run(finetune(tiny.study, SCRATCH, RATE))
    assert not list(tiny.folder.glob("*/*/*.npy")) and not list(tiny.folder.glob("*/done.json"))


# Metrics are read from what is kept.


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

    monkeypatch.setattr(finetuning, "export_model", lambda *a, **k: None)
    return craft


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_the_rate_with_the_best_value_over_the_folds(lab, crafted, metric):
    crafted({0.1: 0.2, 0.2: 0.9, 0.3: 0.9, 0.4: 0.4})  # the first of two equally good ones
    found = lab(learning_rates=(0.1, 0.2, 0.3, 0.4), metric=metric).evaluate(SCRATCH)
    assert found.learning_rate == 0.2
    assert found.metrics["log_loss"].mean == pytest.approx(-np.log(0.1))  # of the test set
    best = -np.log(0.9) if metric == "log_loss" else 1.0
    assert found.selection.mean == pytest.approx(best)


def test_the_metric_decides(lab, crafted):
    """Both are right everywhere; the second one is surer. Without selection it still chooses."""
    crafted({0.1: 0.8, 0.2: 0.9})
    for metric, rate in (("accuracy", 0.1), ("log_loss", 0.2)):
        tiny = lab(folder=metric, learning_rates=(0.1, 0.2), metric=metric, selects=False)
        found = tiny.evaluate(SCRATCH)
        assert found.learning_rate == rate and found.selection is None
        kinds = [stage.record.kind for stage in tiny.stages.finished.values()]
        assert kinds == ["rate", "rate", "finetune"]


@pytest.mark.slow
def test_the_chosen_rate_trains_everything_that_follows(lab, steps_taken):
    found = lab(learning_rates=RATES, metric="log_loss").evaluate(SCRATCH)
    # Two folds for each rate, two seeds on all labels, two folds for the selection; 2 steps each.
    assert len(steps_taken) == 2 * (2 * 2 + 2 + 2)
    # What studies with one rate measure on the folds that choose: the stages are the same.
    steps_taken.clear()
    losses = {}
    for rate in RATES:
        alone = lab(learning_rate=rate, metric="log_loss")
        stage = alone.run(cross_validate(alone.study, SCRATCH, rate, FOR_RATES, "rate"))
        losses[rate] = np.mean(alone.evidence._over_folds(stage.spec))
    assert losses[RATES[0]] != losses[RATES[1]]
    assert found.learning_rate == min(losses, key=losses.get)
    plain = lab(learning_rate=found.learning_rate, metric="log_loss").evaluate(SCRATCH)
    assert plain.learning_rate is msgspec.UNSET
    assert found == plain.replace(learning_rate=found.learning_rate)
    assert lab(learning_rates=RATES, metric="log_loss").evaluate(SCRATCH) == found
    assert not steps_taken
    # One rate needs no choice.
    tiny = lab(learning_rates=(1e-2,))
    assert tiny.evidence.learning_rate(SCRATCH) == 1e-2
    assert [s.kind for s in tiny.evidence.specs(SCRATCH)] == ["finetune", "select"]


def test_all_pretrainings_have_the_learning_rate_that_suits_them_together(lab, monkeypatch):
    losses = {(0.1, 0): 0.3, (0.1, 1): 0.9, (0.2, 0): 0.4, (0.2, 1): 0.5}

    def over_folds(self, spec):
        loss = losses[spec.settings["learning_rate"], spec.network.seed]
        return [loss - 0.1, loss + 0.1]

    monkeypatch.setattr(evidence.Evidence, "_over_folds", over_folds)
    for seeds, rate in ((1, 0.1), (2, 0.2)):
        tiny = lab(pretrainings=seeds, learning_rates=(0.1, 0.2), metric="log_loss")
        assert tiny.evidence.learning_rate(SRC) == rate


def test_selection_is_the_mean_over_folds(lab, monkeypatch):
    """Folds of four of class 0 and one of class 1, by crafted predictions."""
    dataset = lab().study.dataset
    labels = dataset.labels.copy()
    fold = np.array([30, 31, 32, 33, 36])
    labels[fold] = [0, 0, 0, 0, 1]
    dataset = dataclasses.replace(dataset, labels=labels, patients=None)
    crafted = [np.eye(2)[[0, 0, 0, 0, 0]], np.eye(2)[[0, 0, 1, 1, 1]]]  # 4 and 3 of 5
    told = iter(crafted)
    runs = dict.fromkeys(["cv 0 0", "cv 0 1"], finetuning.Run(fold, fold, 0))
    monkeypatch.setattr(finetuning, "on_folds", lambda *_: runs)
    monkeypatch.setattr(Target, "finetune", lambda self, *args, **more: None)
    monkeypatch.setattr(Target, "probabilities", lambda self, state, rows: next(told))
    tiny = lab(dataset=dataset)
    tiny.run(cross_validate(tiny.study, SCRATCH, RATE))
    selection = tiny.evidence.selection(SCRATCH)
    assert selection.mean == pytest.approx(0.7) and selection.runs == (0.8, 0.6)
    assert selection.std == pytest.approx(0.1 * 2**0.5)  # n - 1 in the denominator
    # Another metric is read from the same predictions: recalls 1 and 0; 1/2 and 1.
    other = lab(dataset=dataset, metric="balanced_accuracy").evidence
    assert other.selection(SCRATCH).runs == (0.5, 0.75)


@pytest.mark.slow
def test_a_metric_that_is_added_is_read_from_finished_stages(lab, steps_taken, monkeypatch):
    before = lab().evaluate(SCRATCH)
    steps_taken.clear()

    def certainty(labels, probabilities, weights):
        return probabilities.max(1) @ weights / weights.sum(0)

    monkeypatch.setitem(METRICS, "certainty", Metric("certainty", certainty))
    tiny = lab(metric="certainty")
    found = tiny.evaluate(SCRATCH)
    assert not steps_taken and {*found.metrics} - {*before.metrics} == {"certainty"}
    stage = tiny.stages.get(finetune(tiny.study, SCRATCH, RATE))
    each = [p.max(1).mean() for p in predictions(stage)]
    assert found.metrics["certainty"].runs == pytest.approx(each)
    assert found.selection.mean != before.selection.mean
    assert found.replace(metrics=before.metrics, selection=before.selection) == before


def test_a_metric_that_a_fold_does_not_define_is_one_line(lab, monkeypatch):
    tiny = lab(metric="auc")
    tiny.run(cross_validate(tiny.study, SCRATCH, RATE))
    monkeypatch.setattr(evidence, "scores", lambda *_: {"accuracy": 1.0})
    with pytest.raises(InputError, match="search.metric=auc is not defined in every fold"):
        tiny.evidence.selection(SCRATCH)
