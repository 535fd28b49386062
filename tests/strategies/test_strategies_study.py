"""A small study from end to end: what is trained, kept, repeated and found again."""

import dataclasses
import json
import shutil
import types

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError, Interrupted
from assl_jax.evaluation.features import features
from assl_jax.evaluation.finetune import Target
from assl_jax.files import digest
from assl_jax.lcka import linear_cka
from assl_jax.records import HELD_OUT, Evaluation, Features, Finetuned
from assl_jax.routes import sampling_routes
from assl_jax.strategies import evaluating, mtassl
from assl_jax.strategies.finetuning import Run
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings
from assl_jax.training import loop
from assl_jax.training.checkpoint import Checkpoints, load_tree
from assl_jax.training.metrics_log import MetricsLog

POOL = ("src", "rotation")
SRC, ROTATION, BOTH = Network(("src",)), Network(("rotation",)), Network(POOL)


def files(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def search(study):
    return mtassl.search(study, tasks=POOL, settings=SearchSettings(**AS_PRINTED))


@pytest.mark.slow
def test_search_is_complete_and_a_second_one_repeats_nothing(make_study, steps_taken):
    study = make_study()
    results = search(study)
    assert set(results.singles) == set(POOL) and len(results.iterations) == 1
    for found in (results.scratch, *results.singles.values(), results.best.evaluation):
        assert set(found.metrics) == {
            "accuracy",
            "balanced_accuracy",
            "macro_f1",
            "auc",
            "log_loss",
            "calibrated_log_loss",
        }
        assert len(found.accuracy.runs) == 2 and len(found.selection.runs) == 2
    assert results.similarity.n == 24
    # Two singles and a pool pretrained for 4 steps, 4 networks fine-tuned 4 times for 2 steps.
    assert len(steps_taken) == 3 * 4 + 4 * 4 * 2
    stages = study.setup.stages
    kinds = [stage.record.kind for stage in stages.finished]
    assert [kinds.count(k) for k in ("pretrain", "finetune", "select")] == [3, 4, 4]

    def logged(stage):
        outside = ("memory", HELD_OUT)
        return [r for r in MetricsLog(stage.folder).read() if r.task not in outside]

    watched = MetricsLog(study.pretraining.run(SRC).folder).read()
    watched = [r for r in watched if r.task == HELD_OUT]
    assert [r.step for r in watched] == [0, 1, 2, 3, 4]
    assert all(r.values["effective_rank"] >= 1 and "knn_accuracy" in r.values for r in watched)
    assert [(r.step, r.label) for r in logged(study.pretraining.run(SRC))] == [
        (step, "src") for step in (1, 2, 3, 4)
    ]
    assert {r.run for r in logged(study.evaluating.finetune(SCRATCH))} == {"test 0 0", "test 0 1"}
    assert {r.run for r in logged(study.evaluating.cross_validate(SCRATCH))} == {
        "cv 0 0",
        "cv 0 1",
    }

    steps_taken.clear()
    before = files(stages.folder)
    later = make_study()
    assert search(later) == results
    assert not steps_taken and files(stages.folder) == before
    assert later.setup.stages.finished == stages.finished

    # Deleting one stage recomputes exactly that.
    shutil.rmtree(study.evaluating.finetune(SRC).folder)
    assert search(make_study()) == results
    assert steps_taken == ["target"] * 4


@pytest.mark.slow
def test_similarities_are_those_of_direct_features(make_study):
    study = make_study(folds=0, seeds=1, similarity={"n": 999})
    networks = [SRC, ROTATION]
    matrix = study.comparing.similarities(networks)
    direct = [
        features(
            study.setup.backbone,
            study.pretraining.load(study.pretraining.run(network)),
            study.setup.images,
            np.arange(40),
            intensity=study.setup.dataset.intensity,
        )
        for network in networks
    ]
    assert study.comparing.features(SRC).record.result == Features(n=40, d=6)
    assert matrix.shape == (2, 2) and matrix[0, 1] == matrix[1, 0]
    assert matrix[0, 1] == pytest.approx(float(linear_cka(*direct)), abs=1e-5)
    with pytest.raises(InputError, match="layer='stage7'"):
        make_study(similarity={"layer": "stage7"}).comparing.features(SRC)


@pytest.mark.slow
def test_statistics_fit_plain_images_unless_told_otherwise(make_study):
    def means(**similarity):
        study = make_study(folds=0, seeds=1, similarity=similarity)
        variables = study.pretraining.load(study.pretraining.run(ROTATION))
        backbone, dataset = study.setup.backbone, study.setup.dataset
        images = dataset.intensity(jax.numpy.asarray(dataset.images[:40]))
        trained = backbone.apply(variables, images, train=True, mutable=["batch_stats"])[0]
        evaluated = backbone.apply(variables, images)
        return variables, np.abs(evaluated["pooled"] - trained["pooled"]).max()

    plain, off = means(n=40)
    _, far_off = means(n=40, reestimate_bn=False)
    assert off < 1e-4 < 0.1 < far_off
    # Another sample gives other statistics (so it is another stage), and the same weights.
    other, _ = means(n=16)
    jax.tree.map(np.testing.assert_array_equal, other["params"], plain["params"])
    assert np.abs(other["batch_stats"]["bn"]["mean"] - plain["batch_stats"]["bn"]["mean"]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("budget, steps", [("steps", 4), ("per_task", 8)])
def test_budget(make_study, steps_taken, budget, steps):
    study = make_study(budget=budget)
    stage = study.pretraining.run(BOTH)
    assert len(steps_taken) == steps and set(steps_taken) == set(POOL)
    checkpoints = Checkpoints(stage.folder / "checkpoints")
    assert checkpoints.latest == steps
    checkpoints.close()
    assert stage.record.images_per_s > 0
    steps_taken.clear()
    study.pretraining.run(SRC)
    assert steps_taken == ["src"] * 4  # a single task costs the same either way


@pytest.mark.slow
def test_the_order_of_stages_does_not_matter(make_study):
    one, two = make_study(folder="one"), make_study(folder="two")
    firsts = [one.comparing.features(network) for network in (SRC, ROTATION)]
    seconds = [two.comparing.features(network) for network in (ROTATION, SRC)][::-1]
    for a, b in zip(firsts, seconds, strict=True):
        assert a.folder.name == b.folder.name
        np.testing.assert_array_equal(
            np.load(a.folder / "features.npy"), np.load(b.folder / "features.npy")
        )


def key_of(study, network=SRC, kind="pretrain"):
    """The digest of a stage's settings; nothing is computed."""
    stages, asked = study.setup.stages, []

    def note(kind, label, settings, compute, *, parents=(), **_):
        asked.append(digest([kind, settings, [p.settings_key for p in parents]]))
        return types.SimpleNamespace(settings_key=asked[-1])

    stages.run = note
    parts = {
        "pretrain": study.pretraining.run,
        "finetune": study.evaluating.finetune,
        "select": study.evaluating.cross_validate,
        "features": study.comparing.features,
    }
    parts[kind](network)
    return asked[-1]


def test_what_determines_a_stage_is_in_its_name(make_study):
    """Every change leads to a new key; what does not matter leads to the old one."""
    study = make_study()
    tasks, dataset = study.setup.tasks, study.setup.dataset
    base = key_of(study)
    changes = [
        {"seed": 1},
        {"similarity": {"n": 20}},
        {"similarity": {"reestimate_bn": False}},
        {"steps": 5},
        {"dataset": dataclasses.replace(dataset, unlabeled=np.arange(39))},
        {"backbone_settings": {"name": "other"}},
        {"tasks": tasks | {"src": dataclasses.replace(tasks["src"], crop_fraction=0.9)}},
    ]
    assert len({base, *(key_of(make_study(**c)) for c in changes)}) == 1 + len(changes)
    same = [{"similarity": {"layer": "stage1"}}, {"budget": "per_task"}, {"checkpoint_every": 1}]
    assert {key_of(make_study(**change)) for change in same} == {base}
    # A pool has no order.
    assert key_of(make_study(), BOTH) == key_of(make_study(), Network(POOL[::-1])) != base


def test_a_stage_depends_on_nothing_but_its_inputs(make_study):
    """One more annotated image repeats no pretraining; the test set does not touch the folds."""
    dataset = make_study().setup.dataset
    labels = dataset.labels.copy()
    labels[0] = 1
    annotated = dataclasses.replace(
        dataset, labels=labels, labelled_sets=(np.array([0, *range(24, 40)]),)
    )
    fewer = dataclasses.replace(dataset, test=np.arange(40, 59))
    renamed = dataclasses.replace(dataset, class_names=("cat", "dog"))
    images = dataset.images.copy()
    images[3, 0, 0] ^= 1  # an unlabeled image that has no label
    pixel = dataclasses.replace(dataset, images=images)

    def changed(data, network=SRC):
        kinds = ("pretrain", "features", "select", "finetune")
        return {
            kind
            for kind in kinds
            if (network.pool or kind != "pretrain")
            and key_of(make_study(dataset=data), network, kind)
            != key_of(make_study(), network, kind)
        }

    assert changed(annotated) == {"select", "finetune"}
    assert changed(fewer) == {"finetune"}
    assert "pretrain" not in changed(renamed)
    assert changed(pixel) == {"pretrain", "features", "select", "finetune"}
    # From scratch, an unlabeled image does not matter.
    assert changed(pixel, SCRATCH) == {"features"}


def test_route_labels_are_kept(make_study):
    stage = make_study().pretraining.run(BOTH)
    tables = json.loads((stage.folder / "labels.json").read_text())
    assert set(tables) == {"src"}
    np.testing.assert_array_equal(tables["src"], sampling_routes(2))


@pytest.mark.slow
def test_the_fine_tuned_model_is_kept_whole(make_study):
    study = make_study(folds=0, seeds=1)
    stage = study.evaluating.finetune(SCRATCH)
    backbone, dataset = study.setup.backbone, study.setup.dataset
    model = load_tree(stage.folder / "model" / "variables")
    assert set(model["params"]) == {"backbone", "heads"}
    images = dataset.intensity(jax.numpy.asarray(dataset.images))
    variables = {"params": model["params"]["backbone"], "batch_stats": model["batch_stats"]}
    head = model["params"]["heads"]["target"]["Dense_0"]
    x = backbone.apply(variables, images[dataset.test])["pooled"]
    predicted = (x @ head["kernel"] + head["bias"][None]).argmax(-1)
    accuracy = (predicted == dataset.labels[dataset.test]).mean()
    assert stage.record.result.evaluation.accuracy.runs == (pytest.approx(accuracy),)


def test_killed_while_fine_tuning(make_study, monkeypatch):
    whole = make_study(folder="whole").evaluating.finetune(SRC)
    real, tuned = Target.finetune, []

    def until(limit):
        def finetune(self, variables, rows, *, seed, **more):
            if len(tuned) == limit:
                raise Interrupted("stopped")
            tuned.append(seed)
            return real(self, variables, rows, seed=seed, **more)

        return finetune

    monkeypatch.setattr(Target, "finetune", until(1))
    with pytest.raises(Interrupted):
        make_study().evaluating.finetune(SRC)
    study = make_study()
    (folder,) = study.setup.stages.folder.glob("finetune-*")
    assert len(list((folder / "predictions").iterdir())) == 1
    assert not (folder / "done.json").exists()
    monkeypatch.setattr(Target, "finetune", until(2))
    assert study.evaluating.finetune(SRC).record.result == whole.record.result
    assert len(tuned) == 2  # the last one alone was left to do


def test_stopped_inside_a_fine_tuning_it_goes_on_there(make_study, steps_taken, monkeypatch):
    whole = make_study(folder="whole").evaluating.finetune(SCRATCH)
    asked = iter([False, False, True])  # the first step of the second fine-tuning
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="step 1 of 2"):
        patch.setattr(loop, "stop_requested", lambda _: next(asked))
        make_study().evaluating.finetune(SCRATCH)
    steps_taken.clear()
    stage = make_study().evaluating.finetune(SCRATCH)
    assert len(steps_taken) == 1
    assert stage.record.result == whole.record.result
    assert not (stage.folder / "checkpoints").exists()


def test_killed_while_pretraining(make_study, steps_taken, monkeypatch):
    whole = make_study(folder="whole").comparing.features(BOTH)
    study = make_study()

    def full(log, record):
        if record.step == 4:
            raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(MetricsLog, "write", full)
        study.comparing.features(BOTH)
    assert not list(study.setup.stages.folder.glob("*/done.json"))
    steps_taken.clear()
    stage = make_study().comparing.features(BOTH)
    assert len(steps_taken) == 2  # from the checkpoint after step 2 on
    np.testing.assert_array_equal(
        np.load(stage.folder / "features.npy"), np.load(whole.folder / "features.npy")
    )


def test_runs_and_their_rows(make_study):
    study = make_study(seeds=3, folds=2)
    runs = {**study.evaluating.test_runs(), **study.evaluating.folds()}
    assert list(runs) == ["test 0 0", "test 0 1", "test 0 2", "cv 0 0", "cv 0 1"]
    labelled, test = set(range(24, 40)), set(range(40, 60))
    for name, (train, judged, _) in runs.items():
        assert set(judged.tolist()) <= (test if name.startswith("test") else labelled)
        assert not set(train.tolist()) & set(judged.tolist())
    assert set(runs["test 0 0"][0].tolist()) == labelled
    held_out = [set(runs[name][1].tolist()) for name in ("cv 0 0", "cv 0 1")]
    assert held_out[0] | held_out[1] == labelled and not held_out[0] & held_out[1]
    assert len({seed for *_, seed in runs.values()}) == 5


def test_every_labelled_set_is_used(make_study):
    sets = (np.arange(24, 40), np.arange(24, 32))
    dataset = make_study().setup.dataset
    study = make_study(dataset=dataclasses.replace(dataset, labelled_sets=sets), seeds=1)
    assert list(study.evaluating.test_runs()) == ["test 0 0", "test 1 0"]
    assert list(study.evaluating.folds()) == ["cv 0 0", "cv 0 1", "cv 1 0", "cv 1 1"]
    assert len(study.evaluating.test_runs()["test 1 0"][0]) == 8


def test_selection_is_the_mean_over_folds(make_study, monkeypatch):
    """Folds of four of class 0 and one of class 1, by crafted predictions."""
    dataset = make_study().setup.dataset
    labels = dataset.labels.copy()
    fold = np.array([30, 31, 32, 33, 36])
    labels[fold] = [0, 0, 0, 0, 1]
    dataset = dataclasses.replace(dataset, labels=labels, patients=None)
    crafted = [np.eye(2)[[0, 0, 0, 0, 0]], np.eye(2)[[0, 0, 1, 1, 1]]]  # 4 and 3 of 5
    told = iter(crafted)
    runs = dict.fromkeys(["cv 0 0", "cv 0 1"], Run(fold, fold, 0))
    monkeypatch.setattr(evaluating, "fold_runs", lambda *_: runs)
    monkeypatch.setattr(Target, "finetune", lambda self, *args, **more: None)
    monkeypatch.setattr(Target, "probabilities", lambda self, state, rows: next(told))
    study = make_study(dataset=dataset)
    found = study.evaluating.cross_validate(SCRATCH).record.result.metrics
    assert found["accuracy"] == (0.8, 0.6)
    assert found["balanced_accuracy"] == (0.5, 0.75)  # recalls 1 and 0; 1/2 and 1

    tested = Finetuned(evaluation=Evaluation(metrics={}, confusion=()))
    stage = types.SimpleNamespace(record=types.SimpleNamespace(result=tested))
    monkeypatch.setattr(evaluating.Evaluating, "finetune", lambda *_: stage)
    selection = study.evaluate(SCRATCH).selection
    assert selection.mean == pytest.approx(0.7) and selection.runs == (0.8, 0.6)
    assert selection.std == pytest.approx(0.1 * 2**0.5)  # n - 1 in the denominator
    other = make_study(dataset=dataset, metric="balanced_accuracy")
    assert other.evaluate(SCRATCH).selection.mean == 0.625


def test_folds_of_the_selection_keep_patients_together(make_study):
    dataset = make_study().setup.dataset
    patients = np.arange(60) // 4 * 2 + dataset.labels  # two images each, of one class
    runs = make_study(dataset=dataclasses.replace(dataset, patients=patients)).evaluating.folds()
    for name in ("cv 0 0", "cv 0 1"):
        train, judged, _ = runs[name]
        assert not set(patients[train]) & set(patients[judged])
    apart = make_study(dataset=dataset).evaluating.folds()["cv 0 0"]
    assert set(patients[apart[0]]) & set(patients[apart[1]])


@pytest.mark.slow
def test_images_on_the_host_give_the_same_results(make_study):
    device, host = (
        make_study(folder=p, placement=p).evaluating.finetune(SRC) for p in ("device", "host")
    )
    assert host.record.result == device.record.result


def test_without_folds_there_is_no_selection(make_study):
    found = make_study(folds=0, seeds=1).evaluate(SCRATCH)
    assert found.selection is None and len(found.accuracy.runs) == 1
