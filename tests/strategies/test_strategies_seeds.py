"""Networks that are pretrained several times, `pretrain.seeds`."""

import dataclasses
import statistics
import types

import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.probes import cross_validated_loss
from assl_jax.evaluation.scores import log_loss
from assl_jax.records import Folds
from assl_jax.strategies.evaluating import Evaluating
from assl_jax.strategies.network import SCRATCH, START, Network
from assl_jax.strategies.plan import planned
from assl_jax.strategies.settings import PretrainSettings

SRC, ROTATION, POOL = Network(("src",)), Network(("rotation",)), Network(("src", "rotation"))
OTHER = dataclasses.replace(SRC, seed=1)


@pytest.fixture
def repeated(make_study):
    """`repeated(seeds, ...)`: a study that pretrains every network `seeds` times."""

    def make(seeds=2, *, mixing="alternate", **settings):
        study = make_study(metric="log_loss", **settings)
        changed = dataclasses.replace(study.pretraining.settings, seeds=seeds, mixing=mixing)
        pretraining = dataclasses.replace(study.pretraining, settings=changed)
        study.pretraining = pretraining
        study.evaluating = dataclasses.replace(study.evaluating, pretraining=pretraining)
        study.comparing = dataclasses.replace(study.comparing, pretraining=pretraining)
        return study

    return make


def test_only_pretrained_networks_are_repeated(repeated):
    pretraining = repeated(3).pretraining
    assert pretraining.repeats(SCRATCH) == [SCRATCH] and pretraining.repeats(START) == [START]
    found = pretraining.repeats(POOL)
    assert [n.label for n in found] == ["rotation+src", "rotation+src.seed1", "rotation+src.seed2"]
    assert {n.plain for n in found} == set(found)
    with pytest.raises(InputError, match=r"pretrain\.seeds=0 must be at least 1"):
        PretrainSettings(training=pretraining.settings.training, seeds=0)


def test_all_pretrainings_have_the_learning_rate_that_suits_them_together(repeated, monkeypatch):
    losses = {(0.1, 0): 0.3, (0.1, 1): 0.9, (0.2, 0): 0.4, (0.2, 1): 0.5}

    def folds(self, kind, network, repeat):
        loss = losses[self.settings.training.optimiser.learning_rate, network.seed]
        found = Folds(metrics={"log_loss": (loss - 0.1, loss + 0.1)})
        return types.SimpleNamespace(record=types.SimpleNamespace(result=found))

    monkeypatch.setattr(Evaluating, "_cross_validate", folds)
    for seeds, rate in ((1, 0.1), (2, 0.2)):
        evaluating = repeated(seeds, learning_rates=(0.1, 0.2)).evaluating
        assert [evaluating.learning_rate(n) for n in (SRC, OTHER)] == [rate, rate]


@pytest.mark.slow
def test_a_calibration_pools_the_folds_of_all_pretrainings(repeated, make_study):
    """The held-out images of the folds, twice; no test image."""
    study = repeated()
    study.evaluate(SRC)
    labels, found = study.setup.dataset.labels, []
    for network in (SRC, OTHER):
        folder = study.evaluating.cross_validate(network).folder / "predictions"
        for name, run in study.evaluating.folds().items():
            found.append((labels[run.test], np.load(folder / f"{name.replace(' ', '_')}.npy")))
    truth, p = map(np.concatenate, zip(*found, strict=True))
    assert len(truth) == 2 * 16
    (record,) = study.record()
    # The loss at the stored temperature, against many others.
    target = np.where(np.eye(2)[truth] == 1, 33 / 34, 1 / 34)
    tried = {}
    for t in (record.temperature, *np.geomspace(0.2, 1000, 2000)):
        q = np.exp(np.log(p.astype(float)) / t)
        tried[t] = -(target * np.log(q / q.sum(1, keepdims=True))).sum(1).mean()
    assert tried[record.temperature] == pytest.approx(min(tried.values()), abs=1e-9)
    assert record.calibration.points[0].sensitivity == 1
    for other in ({"selects": False}, {"folds": 0}):
        without = make_study(**other)
        without.evaluate(SCRATCH)
        assert without.record()[0].calibration is None


@pytest.mark.slow
def test_an_evaluation_covers_all_pretrainings(repeated, make_study, monkeypatch):
    study = repeated()
    found = study.evaluate(SRC)
    labels = study.setup.dataset.labels[study.setup.dataset.test]
    each = []
    for network in (SRC, OTHER):
        folder = study.evaluating.finetune(network).folder / "predictions"
        runs = [np.load(folder / f"test_0_{s}.npy") for s in (0, 1)]
        each += [(p.argmax(1) == labels).mean() for p in runs]
    assert found.accuracy.runs == pytest.approx(each)
    means = [statistics.fmean(each[:2]), statistics.fmean(each[2:])]
    assert found.accuracy.pretrainings == pytest.approx(means)
    assert found.accuracy.error == pytest.approx(statistics.stdev(means) / np.sqrt(2))
    assert len(found.selection.runs) == 4 and len(found.selection.pretrainings) == 2
    with monkeypatch.context() as patch:
        patch.setattr("assl_jax.strategies.evaluating.summarise", None)
        assert study.evaluate(SRC) == found  # the bootstrap is not repeated
    assert study.evaluate(SCRATCH).accuracy.pretrainings == ()
    assert len(study.evaluate(SCRATCH).accuracy.runs) == 2
    # The first pretraining is that of a study with one; the second has other weights.
    first, second = (study.pretraining.run(network) for network in (SRC, OTHER))
    assert make_study().pretraining.run(SRC).folder == first.folder != second.folder
    one, two = (study.pretraining.load(stage)["params"]["conv"] for stage in (first, second))
    assert np.abs(np.asarray(one["kernel"]) - np.asarray(two["kernel"])).max() > 1e-3


@pytest.mark.slow
def test_a_gain_knows_how_far_pretrainings_differ(repeated):
    study = repeated()
    evaluating, labels = study.evaluating, study.setup.dataset.labels
    runs = evaluating.folds(1)
    rows = np.concatenate([run.test for run in runs.values()])
    once = np.ones((len(rows), 1), np.int32)

    def loss(network):
        folder = evaluating.cross_validate(network, 1).folder / "predictions"
        each = [np.load(folder / f"{name.replace(' ', '_')}.npy") for name in runs]
        return float(log_loss(labels[rows], np.concatenate(each), once)[0])

    gains = [
        loss(dataclasses.replace(SRC, seed=s)) - loss(dataclasses.replace(ROTATION, seed=s))
        for s in (0, 1)
    ]
    gain = evaluating.gain(SRC, ROTATION, repeats=[1])
    assert gain.mean == pytest.approx(statistics.fmean(gains), rel=1e-4)
    assert gain.error > statistics.stdev(gains) / np.sqrt(2) > 0
    over = evaluating.over_scratch(SRC)
    assert len(over.runs) == 4 and len(over.pretrainings) == 2


@pytest.mark.slow
def test_each_pretraining_of_a_pool_builds_on_its_own_singles(repeated):
    study = repeated(mixing="distil", folds=0)
    study.evaluate(POOL)
    labels = [stage.label for stage in study.setup.stages.finished]
    pretrained = [s.label for s in study.setup.stages.finished if s.record.kind == "pretrain"]
    assert sorted(pretrained) == [
        *("rotation", "rotation+src", "rotation+src.seed1"),
        *("rotation.seed1", "src", "src.seed1"),
    ]
    assert labels.count("rotation+src.seed1") == 2  # pretrained and fine-tuned


@pytest.mark.slow
def test_a_complement_must_add_more_than_a_second_seed_does(repeated):
    study = repeated(similarity={"reestimate_bn": False})
    comparing, setup = study.comparing, study.setup
    rows = setup.dataset.labelled_sets[0]

    def loss(*networks):
        x = [comparing.read(network, "labelled") for network in networks]
        x = np.concatenate(x, axis=1)
        return cross_validated_loss(x, setup.dataset.labels[rows], classes=2, seed=0)

    more = dataclasses.replace(ROTATION, seed=1)
    control = min(loss(SRC, OTHER), loss(ROTATION, more))
    found = comparing.complement(SRC, ROTATION)
    assert found == pytest.approx(control - loss(SRC, ROTATION), rel=1e-3)
    assert found != pytest.approx(min(loss(SRC), loss(ROTATION)) - loss(SRC, ROTATION), rel=1e-3)


def test_the_plan_counts_every_pretraining(repeated):
    one, two = (planned(repeated(seeds), [SRC]) for seeds in (1, 2))
    assert [work.title for work in one] == [work.title for work in two]
    factors = {"fine-tune scratch": 1, "pretrain src": 2, "fine-tune src": 2}
    for single, double in zip(one, two, strict=True):
        assert double.steps == factors[double.title] * single.steps
        assert double.flops == pytest.approx(factors[double.title] * single.flops)
