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
from assl_jax.lcka import linear_cka
from assl_jax.routes import sampling_routes
from assl_jax.strategies import mtassl
from assl_jax.strategies.finetuning import summary
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.stages import digest
from assl_jax.training.checkpoint import Checkpoints, load_tree
from assl_jax.training.metrics_log import MetricsLog

POOL = ("src", "rotation")
SRC, ROTATION, BOTH = Network(("src",)), Network(("rotation",)), Network(POOL)


def files(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_search_is_complete_and_a_second_one_repeats_nothing(make_study, steps_taken):
    study = make_study()
    results = mtassl.search(study, tasks=list(POOL))
    assert set(results) == {"scratch", "singles", "similarity", "iterations", "best"}
    keys = {"accuracy", "std", "runs", "selection", "selection_std", "metrics", "confusion"}
    assert set(results["scratch"]) == set(results["singles"]["src"]) == keys
    assert set(results["best"]) == keys | {"pool"}
    assert results["similarity"]["n"] == 24
    assert set(results["iterations"][0]) == {"pool", "candidates", "chosen", "accepted"}
    assert json.loads(json.dumps(results)) == results
    # Two singles and a pool pretrained for 4 steps, 4 networks fine-tuned 4 times for 2 steps.
    assert len(steps_taken) == 3 * 4 + 4 * 4 * 2
    kinds = [stage.kind for stage in study.stages.finished]
    assert [kinds.count(k) for k in ("pretrain", "finetune", "select")] == [3, 4, 4]

    def logged(stage):
        return [r for r in MetricsLog(stage.folder).read() if r["task"] != "memory"]

    assert [(r["step"], r["label"]) for r in logged(study.pretrain(SRC))] == [
        (step, "src") for step in (1, 2, 3, 4)
    ]
    assert {r["run"] for r in logged(study.finetune(SCRATCH))} == {"test 0 0", "test 0 1"}
    assert {r["run"] for r in logged(study.cross_validate(SCRATCH))} == {"cv 0 0", "cv 0 1"}

    steps_taken.clear()
    before = files(study.stages.folder)
    again = make_study()
    assert mtassl.search(again, tasks=list(POOL)) == results
    assert not steps_taken and files(study.stages.folder) == before
    assert again.stages.finished == study.stages.finished

    # Deleting one stage recomputes exactly that.
    shutil.rmtree(study.finetune(SRC).folder)
    assert mtassl.search(make_study(), tasks=list(POOL)) == results
    assert steps_taken == ["target"] * 4


def test_similarities_are_those_of_direct_features(make_study):
    study = make_study(folds=0, seeds=1, n=999)
    networks = [SRC, ROTATION]
    matrix = study.similarities(networks)
    direct = [
        features(
            study.backbone,
            study.load(study.pretrain(network)),
            study.images,
            np.arange(40),
            intensity=study.dataset.intensity,
        )
        for network in networks
    ]
    assert study.features(SRC).result == {"n": 40, "d": 6}
    assert matrix.shape == (2, 2) and matrix[0, 1] == matrix[1, 0]
    assert matrix[0, 1] == pytest.approx(float(linear_cka(*direct)), abs=1e-5)
    with pytest.raises(InputError, match="layer='stage7'"):
        make_study(layer="stage7").features(SRC)


def test_statistics_fit_plain_images_unless_told_otherwise(make_study):
    def means(**settings):
        study = make_study(folds=0, seeds=1, **settings)
        variables = study.load(study.pretrain(ROTATION))
        images = study.dataset.intensity(jax.numpy.asarray(study.dataset.images[:40]))
        trained = study.backbone.apply(variables, images, train=True, mutable=["batch_stats"])[0]
        evaluated = study.backbone.apply(variables, images)
        return variables, np.abs(evaluated["pooled"] - trained["pooled"]).max()

    plain, off = means(n=40)
    _, far_off = means(n=40, reestimate_bn=False)
    assert off < 1e-4 < 0.1 < far_off
    # Another sample gives other statistics (so it is another stage), and the same weights.
    other, _ = means(n=16)
    jax.tree.map(np.testing.assert_array_equal, other["params"], plain["params"])
    assert np.abs(other["batch_stats"]["bn"]["mean"] - plain["batch_stats"]["bn"]["mean"]).max() > 0


@pytest.mark.parametrize("budget, steps", [("total", 4), ("per_task", 8)])
def test_budget(make_study, steps_taken, budget, steps):
    study = make_study(budget=budget)
    stage = study.pretrain(BOTH)
    assert len(steps_taken) == steps and set(steps_taken) == set(POOL)
    checkpoints = Checkpoints(stage.folder / "checkpoints")
    assert checkpoints.latest == steps
    checkpoints.close()
    assert stage.images_per_s > 0
    steps_taken.clear()
    study.pretrain(SRC)
    assert steps_taken == ["src"] * 4  # a single task costs the same either way


def test_the_order_of_stages_does_not_matter(make_study):
    one, two = make_study(folder="one"), make_study(folder="two")
    firsts = [one.features(network) for network in (SRC, ROTATION)]
    seconds = [two.features(network) for network in (ROTATION, SRC)][::-1]
    for a, b in zip(firsts, seconds, strict=True):
        assert a.key == b.key
        np.testing.assert_array_equal(
            np.load(a.folder / "features.npy"), np.load(b.folder / "features.npy")
        )


def test_what_determines_a_stage_is_in_its_name(make_study):
    """Every change leads to a new key; what does not matter leads to the old one."""
    study = make_study(folds=0, seeds=1)
    tasks = study.tasks

    def key(pool=("src",), **changes):
        changed = make_study(folds=0, seeds=1, **changes)
        changed.stages.run = lambda kind, label, spec, compute, shown: digest(
            {"kind": kind, **spec}
        )
        return changed.pretrain(Network(pool))

    base = key()
    training = dataclasses.replace(study.pretraining, steps=5)
    dataset = dataclasses.replace(study.dataset, unlabeled=np.arange(39))
    changes = [
        {"seed": 1},
        {"n": 20},
        {"reestimate_bn": False},
        {"pretraining": training},
        {"dataset": dataset},
        {"backbone_settings": {"name": "other"}},
        {"tasks": tasks | {"src": dataclasses.replace(tasks["src"], crop_fraction=0.9)}},
    ]
    assert len({base, *(key(**change) for change in changes)}) == 1 + len(changes)
    same = [{"layer": "stage1"}, {"budget": "per_task"}, {"checkpoint_every": 1}]
    assert {key(**change) for change in same} == {base}
    assert key(POOL) == key(POOL[::-1]) != base  # a pool has no order


def test_route_labels_are_kept(make_study):
    stage = make_study().pretrain(BOTH)
    tables = json.loads((stage.folder / "labels.json").read_text())
    assert set(tables) == {"src"}
    np.testing.assert_array_equal(tables["src"], sampling_routes(2))


def test_the_fine_tuned_model_is_kept_whole(make_study):
    study = make_study(folds=0, seeds=1)
    stage = study.finetune(SCRATCH)
    model = load_tree(stage.folder / "model" / "variables")
    assert set(model["params"]) == {"backbone", "heads"}
    images = study.dataset.intensity(jax.numpy.asarray(study.dataset.images))
    variables = {"params": model["params"]["backbone"], "batch_stats": model["batch_stats"]}
    head = model["params"]["heads"]["target"]["Dense_0"]
    x = study.backbone.apply(variables, images[study.dataset.test])["pooled"]
    predicted = (x @ head["kernel"] + head["bias"][None]).argmax(-1)
    accuracy = (predicted == study.dataset.labels[study.dataset.test]).mean()
    assert stage.result["runs"] == [pytest.approx(accuracy)]


def test_killed_while_fine_tuning(make_study, monkeypatch):
    whole = make_study(folder="whole").finetune(SRC)
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
        make_study().finetune(SRC)
    study = make_study()
    (folder,) = study.stages.folder.glob("finetune-*")
    assert len(list((folder / "predictions").iterdir())) == 1
    assert not (folder / "done.json").exists()
    monkeypatch.setattr(Target, "finetune", until(2))
    assert study.finetune(SRC).result == whole.result
    assert len(tuned) == 2  # the last one alone was left to do


def test_killed_while_pretraining(make_study, steps_taken, monkeypatch):
    whole = make_study(folder="whole").features(BOTH)
    study = make_study()

    def full(log, record):
        if record["step"] == 4:
            raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(MetricsLog, "write", full)
        study.features(BOTH)
    assert not list(study.stages.folder.glob("*/done.json"))
    steps_taken.clear()
    stage = make_study().features(BOTH)
    assert len(steps_taken) == 2  # from the checkpoint after step 2 on
    np.testing.assert_array_equal(
        np.load(stage.folder / "features.npy"), np.load(whole.folder / "features.npy")
    )


def test_runs_and_their_rows(make_study):
    study = make_study(seeds=3, folds=2)
    runs = study._test_runs() | study._folds()
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
    dataset = make_study().dataset
    study = make_study(dataset=dataclasses.replace(dataset, labelled_sets=sets), seeds=1)
    assert list(study._test_runs()) == ["test 0 0", "test 1 0"]
    assert list(study._folds()) == ["cv 0 0", "cv 0 1", "cv 1 0", "cv 1 1"]
    assert len(study._test_runs()["test 1 0"][0]) == 8


def test_summary_by_hand(make_study):
    """Ten test images, five of each class."""
    dataset = make_study().dataset
    labels = np.concatenate([np.zeros(40, np.int32), np.repeat([0, 1], 5), np.zeros(10, np.int32)])
    dataset = dataclasses.replace(dataset, labels=labels, test=np.arange(40, 50), patients=None)

    def certain(*classes):
        return np.eye(2)[list(classes)]

    probabilities = {
        "test 0 0": certain(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),  # 5 of 10
        "test 0 1": certain(0, 0, 0, 0, 1, 1, 1, 1, 0, 0),  # 7 of 10
    }
    result = summary(dataset, probabilities)
    assert result["accuracy"] == pytest.approx(0.6) and result["runs"] == [0.5, 0.7]
    assert result["std"] == pytest.approx(0.1 * 2**0.5)  # n - 1 in the denominator
    assert result["metrics"]["accuracy"]["mean"] == pytest.approx(0.6)
    assert result["confusion"] == [[4.5, 0.5], [3.5, 1.5]]
    assert summary(dataset, {"test 0 0": probabilities["test 0 0"]})["std"] == 0.0


def test_selection_is_the_mean_over_folds(make_study, monkeypatch):
    """Folds of four of class 0 and one of class 1, by crafted predictions."""
    dataset = make_study().dataset
    labels = dataset.labels.copy()
    fold = np.array([30, 31, 32, 33, 36])
    labels[fold] = [0, 0, 0, 0, 1]
    study = make_study(dataset=dataclasses.replace(dataset, labels=labels, patients=None))
    told = iter([np.eye(2)[[0, 0, 0, 0, 0]], np.eye(2)[[0, 0, 1, 1, 1]]])  # 4 and 3 of 5
    monkeypatch.setattr(
        type(study), "_folds", lambda self: dict.fromkeys(["cv 0 0", "cv 0 1"], (fold, fold, 0))
    )
    monkeypatch.setattr(Target, "finetune", lambda self, *args, **more: None)
    monkeypatch.setattr(Target, "probabilities", lambda self, state, rows: next(told))
    found = study.cross_validate(SCRATCH).result
    assert found["accuracy"] == [0.8, 0.6]
    assert found["balanced_accuracy"] == [0.5, 0.75]  # recalls 1 and 0; 1/2 and 1
    result = {"accuracy": 0.5, "std": 0.0}
    monkeypatch.setattr(type(study), "finetune", lambda *_: types.SimpleNamespace(result=result))
    assert study.evaluate(SCRATCH)["selection"] == pytest.approx(0.7)
    assert study.evaluate(SCRATCH)["selection_std"] == pytest.approx(0.1 * 2**0.5)
    study.target = dataclasses.replace(study.target, metric="balanced_accuracy")
    assert study.evaluate(SCRATCH)["selection"] == 0.625


def test_folds_of_the_selection_keep_patients_together(make_study):
    dataset = make_study().dataset
    patients = np.arange(60) // 4 * 2 + dataset.labels  # two images each, of one class
    runs = make_study(dataset=dataclasses.replace(dataset, patients=patients))._folds()
    for name in ("cv 0 0", "cv 0 1"):
        train, judged, _ = runs[name]
        assert not set(patients[train]) & set(patients[judged])
    apart = make_study(dataset=dataset)._folds()["cv 0 0"]
    assert set(patients[apart[0]]) & set(patients[apart[1]])


def test_images_on_the_host_give_the_same_results(make_study):
    device, host = (
        make_study(folder=place, place=place).finetune(SRC) for place in ("device", "host")
    )
    assert host.result == device.result


def test_without_folds_there_is_no_selection(make_study):
    result = make_study(folds=0, seeds=1).evaluate(SCRATCH)
    assert result["selection"] is None and len(result["runs"]) == 1
