"""A small study from end to end: what is trained, kept, repeated and found again."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError, Interrupted
from assl_jax.evaluation.features import features
from assl_jax.evaluation.finetune import Target
from assl_jax.lcka import linear_cka
from assl_jax.routes import sampling_routes
from assl_jax.strategies import mtassl
from assl_jax.strategies.stages import digest
from assl_jax.strategies.study import summary
from assl_jax.training.checkpoint import Checkpoints, load_tree

POOL = ("src", "rotation")


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
    assert (kinds.count("pretrain"), kinds.count("finetune")) == (3, 4)

    records = study.log.read()
    pretraining = [r for r in records if r["kind"] == "pretrain" and r["label"] == "src"]
    assert [r["step"] for r in pretraining] == [1, 2, 3, 4]
    assert {r["run"] for r in records if r["label"] == "scratch"} == {
        "test 0 0",
        "test 0 1",
        "cv 0 0",
        "cv 0 1",
    }

    steps_taken.clear()
    before = files(study.stages.folder)
    again = make_study()
    assert mtassl.search(again, tasks=list(POOL)) == results
    assert not steps_taken and files(study.stages.folder) == before
    assert again.stages.finished == study.stages.finished

    # Deleting one stage recomputes exactly that.
    stage = study.finetune(("src",))
    shutil.rmtree(stage.folder)
    assert mtassl.search(make_study(), tasks=list(POOL)) == results
    assert steps_taken == ["target"] * 8


def test_similarities_are_those_of_direct_features(make_study):
    study = make_study(folds=0, seeds=1, n=999)
    pools = [("src",), ("rotation",)]
    matrix = study.similarities(pools)
    direct = [
        features(
            study.backbone,
            study.load(study.pretrain(pool).folder / "backbone"),
            study._images,
            np.arange(40),
            intensity=study.dataset.intensity,
        )
        for pool in pools
    ]
    assert study.features(("src",)).result == {"n": 40, "d": 6}
    assert matrix.shape == (2, 2) and matrix[0, 1] == matrix[1, 0]
    assert matrix[0, 1] == pytest.approx(float(linear_cka(*direct)), abs=1e-5)
    with pytest.raises(InputError, match="layer='stage7'"):
        make_study(layer="stage7").features(("src",))


def test_statistics_fit_plain_images_unless_told_otherwise(make_study):
    def means(**settings):
        study = make_study(folds=0, seeds=1, **settings)
        variables = load_tree(study.pretrain(("rotation",)).folder / "backbone")
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
    stage = study.pretrain(POOL)
    assert len(steps_taken) == steps and set(steps_taken) == set(POOL)
    checkpoints = Checkpoints(stage.folder / "checkpoints")
    assert checkpoints.latest == steps
    checkpoints.close()
    assert stage.images_per_s > 0
    steps_taken.clear()
    study.pretrain(("src",))
    assert steps_taken == ["src"] * 4  # a single task costs the same either way


def test_the_order_of_stages_does_not_matter(make_study):
    one, two = make_study(folder="one"), make_study(folder="two")
    firsts = [one.features(pool) for pool in (("src",), ("rotation",))]
    seconds = [two.features(pool) for pool in (("rotation",), ("src",))][::-1]
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
        changed.stages.run = lambda kind, label, spec, compute: digest({"kind": kind, **spec})
        return changed.pretrain(pool)

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
    assert key(POOL) != key(POOL[::-1])  # the schedule follows the order


def test_route_labels_are_kept(make_study):
    stage = make_study().pretrain(POOL)
    tables = json.loads((stage.folder / "labels.json").read_text())
    assert set(tables) == {"src"}
    np.testing.assert_array_equal(tables["src"], sampling_routes(2))


def test_the_fine_tuned_model_is_kept_whole(make_study):
    study = make_study(folds=0, seeds=1)
    stage = study.finetune(None)
    model = load_tree(stage.folder / "model")
    assert set(model["params"]) == {"backbone", "heads"}
    images = study.dataset.intensity(jax.numpy.asarray(study.dataset.images))
    variables = {"params": model["params"]["backbone"], "batch_stats": model["batch_stats"]}
    head = model["params"]["heads"]["target"]["Dense_0"]
    x = study.backbone.apply(variables, images[study.dataset.test])["pooled"]
    predicted = (x @ head["kernel"] + head["bias"][None]).argmax(-1)
    accuracy = (predicted == study.dataset.labels[study.dataset.test]).mean()
    assert stage.result["runs"] == [pytest.approx(accuracy)]


def test_killed_while_fine_tuning(make_study, monkeypatch):
    whole = make_study(folder="whole").finetune(("src",))
    real, tuned = Target.finetune, []

    def until(limit):
        def finetune(self, variables, rows, *, seed, **more):
            if len(tuned) == limit:
                raise Interrupted("stopped")
            tuned.append(seed)
            return real(self, variables, rows, seed=seed, **more)

        return finetune

    monkeypatch.setattr(Target, "finetune", until(3))
    with pytest.raises(Interrupted):
        make_study().finetune(("src",))
    study = make_study()
    (folder,) = study.stages.folder.glob("finetune-*")
    assert len(list((folder / "predictions").iterdir())) == 3
    assert not (folder / "done.json").exists()
    monkeypatch.setattr(Target, "finetune", until(4))
    assert study.finetune(("src",)).result == whole.result
    assert len(tuned) == 4  # the last one alone was left to do


def test_killed_while_pretraining(make_study, steps_taken, monkeypatch):
    whole = make_study(folder="whole").features(POOL)
    study = make_study()

    def full(record):
        if record["step"] == 4:
            raise OSError("No space left on device")

    monkeypatch.setattr(study.log, "write", full)
    with pytest.raises(OSError):
        study.features(POOL)
    assert not list(study.stages.folder.glob("*/done.json"))
    steps_taken.clear()
    stage = make_study().features(POOL)
    assert len(steps_taken) == 2  # from the checkpoint after step 2 on
    np.testing.assert_array_equal(
        np.load(stage.folder / "features.npy"), np.load(whole.folder / "features.npy")
    )


def test_runs_and_their_rows(make_study):
    study = make_study(seeds=3, folds=2)
    runs = study._runs()
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
    assert list(study._runs()) == ["test 0 0", "cv 0 0", "cv 0 1", "test 1 0", "cv 1 0", "cv 1 1"]
    assert len(study._runs()["test 1 0"][0]) == 8


def test_summary_by_hand(make_study):
    """Ten test images, five of each class; folds of five and five labelled ones."""
    dataset = make_study().dataset
    labels = np.concatenate([np.zeros(40, np.int32), np.repeat([0, 1], 5), np.zeros(10, np.int32)])
    labels[36:40] = 1
    fold = np.array([30, 31, 32, 33, 36])  # four of class 0 and one of class 1
    dataset = dataclasses.replace(dataset, labels=labels, test=np.arange(40, 50), patients=None)

    def certain(*classes):
        return np.eye(2)[list(classes)]

    runs = dict.fromkeys(["test 0 0", "test 0 1"], (None, dataset.test, 0))
    runs |= {"cv 0 0": (None, fold, 0), "cv 0 1": (None, fold, 0)}
    probabilities = {
        "test 0 0": certain(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),  # 5 of 10
        "cv 0 0": certain(0, 0, 0, 0, 0),  # 4 of 5, recalls 1 and 0
        "test 0 1": certain(0, 0, 0, 0, 1, 1, 1, 1, 0, 0),  # 7 of 10
        "cv 0 1": certain(0, 0, 1, 1, 1),  # 3 of 5, recalls 1/2 and 1
    }
    result = summary(dataset, runs, probabilities, "accuracy")
    assert result["accuracy"] == pytest.approx(0.6) and result["runs"] == [0.5, 0.7]
    assert result["std"] == pytest.approx(0.1 * 2**0.5)  # n - 1 in the denominator
    assert result["selection"] == pytest.approx(0.7)
    assert result["selection_std"] == pytest.approx(0.1 * 2**0.5)
    assert result["metrics"]["accuracy"]["mean"] == pytest.approx(0.6)
    assert result["confusion"] == [[4.5, 0.5], [3.5, 1.5]]
    assert summary(dataset, runs, probabilities, "balanced_accuracy")["selection"] == 0.625
    alone = summary(dataset, runs, {"test 0 0": probabilities["test 0 0"]}, "accuracy")
    assert alone["std"] == 0.0 and alone["selection"] is None and alone["selection_std"] is None


def test_folds_of_the_selection_keep_patients_together(make_study):
    dataset = make_study().dataset
    patients = np.arange(60) // 4 * 2 + dataset.labels  # two images each, of one class
    runs = make_study(dataset=dataclasses.replace(dataset, patients=patients))._runs()
    for name in ("cv 0 0", "cv 0 1"):
        train, judged, _ = runs[name]
        assert not set(patients[train]) & set(patients[judged])
    apart = make_study(dataset=dataset)._runs()["cv 0 0"]
    assert set(patients[apart[0]]) & set(patients[apart[1]])


def test_images_on_the_host_give_the_same_results(make_study):
    device, host = (
        make_study(folder=place, images_on=place).finetune(("src",)) for place in ("device", "host")
    )
    assert host.result == device.result


def test_without_folds_there_is_no_selection(make_study):
    result = make_study(folds=0, seeds=1).finetune(None).result
    assert result["selection"] is None and len(result["runs"]) == 1
