"""Scores of networks, against stored predictions, direct features and counts."""

import dataclasses
import statistics

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.evaluation.features import features
from assl_jax.evaluation.probes import cross_validated_loss
from assl_jax.evaluation.scores import METRICS, log_loss
from assl_jax.evaluation.stored import file_of
from assl_jax.lcka import linear_cka
from assl_jax.records import HELD_OUT, SCRATCH, START, Features, Network
from assl_jax.seeds import derived
from assl_jax.strategies import comparing, evidence
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.finetuning import cross_validate, finetune, on_all_labels, on_folds
from assl_jax.strategies.scheduler import Missing
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings
from assl_jax.strategies.study import Given
from assl_jax.training.metrics_log import MetricsLog

SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
AGAIN, MORE = SRC.repeated(1), ROTATION.repeated(1)
RATE = 1e-3
SEED = derived(0, "probe")


def on_test(tiny):
    """Evidence of the same stages that compares networks on the test set."""
    return Evidence(dataclasses.replace(tiny.study, cross_validated=False), tiny.stages)


def files(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def stored(lab, network, *, division=None):
    """The probabilities of each run and its rows, by name, as they lie in the files."""
    study = lab.study
    if division is None:
        spec, runs = finetune(study, network, RATE), on_all_labels(study)
    else:
        spec, runs = cross_validate(study, network, RATE, division), on_folds(study, division)
    folder = lab.stages.get(spec).folder / "predictions"
    return {name: (np.load(folder / file_of(name)), run.test) for name, run in runs.items()}


def loss(lab, network, division):
    """The mean log loss over all images of the folds."""
    found = stored(lab, network, division=division).values()
    p, rows = (np.concatenate(each) for each in zip(*found, strict=True))
    return float(log_loss(lab.study.dataset.labels[rows], p, np.ones((len(rows), 1), np.int32))[0])


@pytest.mark.slow
def test_search_is_complete_and_a_second_one_repeats_nothing(lab, steps_taken):
    settings = SearchSettings(as_printed=True, **AS_PRINTED)
    tiny = lab()
    results = tiny.search(settings)
    assert set(results.singles) == {"src", "rotation"} and len(results.iterations) == 1
    for found in (results.scratch, *results.singles.values(), results.best.evaluation):
        assert set(found.metrics) == set(METRICS)
        assert len(found.accuracy.runs) == 2 and len(found.selection.runs) == 2
    assert results.similarity.n == 24
    # Two singles and a pool pretrained for 4 steps, 4 networks fine-tuned 4 times for 2 steps.
    assert len(steps_taken) == 3 * 4 + 4 * 4 * 2
    kinds = [stage.record.kind for stage in tiny.stages.finished.values()]
    assert [kinds.count(k) for k in ("pretrain", "finetune", "select")] == [3, 4, 4]
    # What they log.
    stages = {(s.record.kind, s.record.label): s for s in tiny.stages.finished.values()}
    logs = {key: MetricsLog(stage.folder).read() for key, stage in stages.items()}
    watched = [r for r in logs["pretrain", "src"] if r.task == HELD_OUT]
    assert [r.step for r in watched] == [0, 1, 2, 3, 4]
    own = [r for r in logs["pretrain", "src"] if r.task == "src"]
    assert [(r.step, r.label) for r in own] == [(step, "src") for step in (1, 2, 3, 4)]
    runs = {
        kind: {r.run for r in logs[kind, "scratch"] if r.run} for kind in ("finetune", "select")
    }
    assert runs == {"finetune": {"test 0 0", "test 0 1"}, "select": {"cv 0 0", "cv 0 1"}}

    steps_taken.clear()
    before, later = files(tiny.folder), lab()
    assert later.search(settings) == results and not steps_taken
    assert files(tiny.folder) == before and later.stages.finished == tiny.stages.finished


@pytest.mark.slow
def test_looking_up_never_trains(lab, steps_taken):
    tiny = lab()
    before = Evidence(tiny.study, tiny.stages)
    for look in (
        lambda: before.evaluate(SRC),
        lambda: before.selection(SRC),
        lambda: before.gain(SCRATCH, SRC),
        lambda: before.similarities([SRC]),
        lambda: before.complement(SRC, ROTATION),
        lambda: before.cost(SRC),
    ):
        with pytest.raises(Missing):
            look()
    assert not steps_taken and not tiny.folder.exists()


@pytest.mark.slow
def test_similarities_are_those_of_direct_features(lab):
    tiny = lab(similarity={"n": 999})
    (first, _), study = tiny.features(SRC, ROTATION), tiny.study
    assert first.record.result == Features(n=40, d=6)
    matrix = tiny.evidence.similarities([SRC, ROTATION])
    direct = [
        features(
            study.backbone,
            tiny.variables(network),
            study.images,
            np.arange(40),
            intensity=study.dataset.intensity,
        )
        for network in (SRC, ROTATION)
    ]
    assert matrix.shape == (2, 2) and matrix[0, 1] == matrix[1, 0]
    assert matrix[0, 1] == pytest.approx(float(linear_cka(*direct)), abs=1e-5)


@pytest.mark.slow
def test_a_gain_is_that_of_the_stored_predictions(lab):
    """Cross-validated on either division into folds, and on the test set."""
    tiny = lab(metric="log_loss")
    tiny.evaluate(SCRATCH, SRC, divisions=[1])
    labels, seen = tiny.study.dataset.labels, []

    def losses(network, division=None):
        found = stored(tiny, network, division=division).values()
        return [-np.log(p[np.arange(len(p)), labels[rows]]) for p, rows in found]

    for division in (0, 1):
        old, new = (np.concatenate(losses(n, division)) for n in (SCRATCH, SRC))
        gain = tiny.evidence.gain(SCRATCH, SRC, division)
        assert gain.mean == pytest.approx((old - new).mean(), rel=1e-4)
        assert gain.error == pytest.approx((old - new).std() / np.sqrt(len(old)), rel=0.2)
        rows = [run.test for run in on_folds(tiny.study, division).values()]
        assert sorted(np.concatenate(rows)) == list(range(24, 40))
        seen.append({tuple(each) for each in rows})
    assert seen[0] != seen[1]  # other folds
    old, new = (np.mean(losses(n), axis=0) for n in (SCRATCH, SRC))
    assert on_test(tiny).gain(SCRATCH, SRC).mean == pytest.approx((old - new).mean(), rel=1e-4)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "auc"])
def test_gain_over_scratch_by_hand(lab, monkeypatch, metric):
    found = lab(metric=metric).evidence
    dataset = found.study.dataset
    truth = dataset.labels[dataset.test]
    # Half of the images of each class are right, in the second run all of them.
    rank = np.array([(truth[:i] == k).sum() for i, k in enumerate(truth)])
    sizes = np.bincount(truth)[truth]
    half = np.where(2 * rank < sizes, truth, 1 - truth)
    told = {SCRATCH: [np.eye(2)[half]] * 2, SRC: [np.eye(2)[half], np.eye(2)[truth]]}
    monkeypatch.setattr(Evidence, "probabilities", lambda self, network: told[network])
    over = found.over_scratch(SRC)
    gained = 1 - (half == truth).mean()  # of the second run; the AUC of halves is 1/2 too
    assert over.runs == pytest.approx((0, gained), abs=1e-9)
    assert over.low < over.mean < over.high
    assert over.mean - over.low == pytest.approx(over.high - over.mean)
    if metric == "auc":
        one_class = np.where(dataset.labels >= 0, 0, dataset.labels).astype(np.int32)
        blind = dataclasses.replace(dataset, labels=one_class)
        assert lab(dataset=blind, metric="auc").evidence.over_scratch(SRC) is None


@pytest.mark.slow
@pytest.mark.parametrize("pretrainings", [1, 2])
def test_what_features_add_to_a_probe(lab, monkeypatch, pretrainings):
    """The better probe alone minus the probe on both; a second seed beside each if there is one."""
    more = {"similarity": {"reestimate_bn": False}, "pretrainings": pretrainings}
    tiny = lab(**more)
    study, rows = tiny.study, tiny.study.dataset.labelled_sets[0]

    def loss(*networks):
        x = [
            features(
                study.backbone,
                tiny.variables(network),
                study.images,
                rows,
                intensity=study.dataset.intensity,
                batch_size=7,
            )
            for network in networks
        ]
        together = np.concatenate(x, axis=1)
        return cross_validated_loss(together, study.dataset.labels[rows], classes=2, seed=SEED)

    def complement(lab):
        step = lab.evidence.complemented(SRC, [ROTATION])
        return lab.asked(step, lambda: lab.evidence.complement(SRC, ROTATION))

    alone = min(loss(SRC), loss(ROTATION))
    apart = alone if pretrainings == 1 else min(loss(SRC, AGAIN), loss(ROTATION, MORE))
    found = complement(tiny)
    assert found == pytest.approx(apart - loss(SRC, ROTATION), rel=1e-3) and found != 0
    if pretrainings > 1:
        assert found != pytest.approx(alone - loss(SRC, ROTATION), rel=1e-3)
    # The probes are stages: another run reads them and fits nothing.
    monkeypatch.setattr(comparing, "cross_validated_loss", None)
    assert complement(lab(**more)) == found


# Networks that are pretrained several times.


def test_only_pretrained_networks_are_repeated(lab):
    study = lab(pretrainings=3, given={START: None}).study
    for network in study.baselines:
        assert study.repeats(network) == [network]
    assert [n.label for n in study.repeats(SRC)] == ["src", "src.seed1", "src.seed2"]


@pytest.mark.slow
def test_a_calibration_pools_the_folds_of_all_pretrainings(lab):
    """The held-out images of the folds, twice; no test image."""
    tiny = lab(pretrainings=2, metric="log_loss")
    tiny.evaluate(SRC)
    found = [e for n in (SRC, AGAIN) for e in stored(tiny, n, division=0).values()]
    p, rows = (np.concatenate(each) for each in zip(*found, strict=True))
    truth = tiny.study.dataset.labels[rows]
    assert len(truth) == 2 * 16
    (record,) = tiny.evidence.record()
    # The loss at the stored temperature, against many others.
    target = np.where(np.eye(2)[truth] == 1, 33 / 34, 1 / 34)
    tried = {}
    for t in (record.temperature, *np.geomspace(0.2, 1000, 2000)):
        q = np.exp(np.log(p.astype(float)) / t)
        tried[t] = -(target * np.log(q / q.sum(1, keepdims=True))).sum(1).mean()
    assert tried[record.temperature] == pytest.approx(min(tried.values()), abs=1e-9)
    assert record.calibration.points[0].sensitivity == 1
    for other in ({"selects": False}, {"folds": 0}):
        without = lab(**other)
        assert without.evaluate(SCRATCH).selection is None
        assert without.evidence.record()[0].calibration is None


@pytest.mark.slow
def test_an_evaluation_covers_all_pretrainings(lab, monkeypatch):
    tiny = lab(pretrainings=2, metric="log_loss")
    scratch, found = tiny.evaluate(SCRATCH, SRC)
    labels = tiny.study.dataset.labels
    each = [
        (p.argmax(1) == labels[rows]).mean()
        for network in (SRC, AGAIN)
        for p, rows in stored(tiny, network).values()
    ]
    assert found.accuracy.runs == pytest.approx(each)
    means = [statistics.fmean(each[:2]), statistics.fmean(each[2:])]
    assert found.accuracy.pretrainings == pytest.approx(means)
    assert found.accuracy.error == pytest.approx(statistics.stdev(means) / np.sqrt(2))
    assert len(found.selection.runs) == 4 and len(found.selection.pretrainings) == 2
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "summarise", None)
        assert tiny.evaluate(SRC) == found  # the bootstrap is not repeated
    assert scratch.accuracy.pretrainings == () and len(scratch.accuracy.runs) == 2
    over = tiny.evidence.over_scratch(SRC)
    assert len(over.runs) == 4 and len(over.pretrainings) == 2
    # The first pretraining is that of a study with one; the second has other weights.
    first, second = tiny.pretrain(SRC, AGAIN)
    assert lab().pretrain(SRC).name == first.name != second.name
    one, two = (np.asarray(tiny.params(n)["conv"]["kernel"]) for n in (SRC, AGAIN))
    assert np.abs(one - two).max() > 1e-3


@pytest.mark.slow
def test_a_gain_knows_how_far_pretrainings_differ(lab):
    tiny = lab(pretrainings=2, metric="log_loss")
    tiny.evaluate(SRC, ROTATION, divisions=[1])
    gains = [loss(tiny, SRC.repeated(s), 1) - loss(tiny, ROTATION.repeated(s), 1) for s in (0, 1)]
    gain = tiny.evidence.gain(SRC, ROTATION, 1)
    assert gain.mean == pytest.approx(statistics.fmean(gains), rel=1e-4)
    assert gain.error > statistics.stdev(gains) / np.sqrt(2) > 0


@pytest.mark.slow
def test_each_pretraining_of_a_pool_builds_on_its_own_singles(lab):
    tiny = lab(pretrainings=2, mixing="distil", folds=0)
    tiny.evaluate(tiny.study.pool(("src", "rotation")))
    stages = [stage.record for stage in tiny.stages.finished.values()]
    assert sorted(stage.label for stage in stages if stage.kind == "pretrain") == [
        *("rotation", "rotation.seed1", "src", "src+rotation"),
        *("src+rotation.seed1", "src.seed1"),
    ]
    tuned = [stage.label for stage in stages if stage.kind == "finetune"]
    assert tuned == ["src+rotation", "src+rotation.seed1"]


@pytest.mark.slow
def test_a_teacher_stands_beside_each_pretraining_of_another_network(lab, drawn):
    teacher = Network(given="wise")
    variables = drawn(lab().study.backbone.init, jnp.zeros((1, 16, 16, 1)))
    given = {"wise": Given(variables=variables, digest="a")}
    tiny = lab(given=given, mixing="distil", metric="log_loss", pretrainings=2)
    pool = tiny.study.pool(("wise", "src"))
    assert [n.label for n in tiny.study.repeats(pool)[1].parents] == ["src.seed1", "wise"]
    tiny.evaluate(SRC, teacher)
    labels = tiny.study.dataset.labels[tiny.study.dataset.test]

    def mean(runs):
        return np.mean([-np.log(p[np.arange(len(labels)), labels]).mean() for p in runs])

    wise, src = (tiny.evidence.probabilities(network) for network in (teacher, SRC))
    assert (len(wise), len(src)) == (2, 4)
    gain = on_test(tiny).gain(SRC, teacher)
    assert gain.mean == pytest.approx(mean(src) - mean(wise), abs=1e-6)
    spread = abs(mean(src[:2]) - mean(src[2:])) / 2  # standard error over two pretrainings
    assert gain.error > spread > 0
    for found in (tiny.evidence, on_test(tiny)):
        gain, back = (found.gain(*pair) for pair in ((teacher, SRC), (SRC, teacher)))
        assert (gain.mean, gain.error) == pytest.approx((-back.mean, back.error))
    # A search takes it as a candidate.
    settings = SearchSettings(metric="log_loss")
    one = lab(given=given, mixing="distil", metric="log_loss", folder="search", seeds=1)
    findings = one.search(settings)
    assert list(findings.singles) == list(findings.similarity.tasks) == ["src", "rotation", "wise"]
    networks = {network.label: network for network in one.evidence.record()}
    assert networks["wise"].pretrain.startswith("given-wise-") and networks["wise"].flops == 0
