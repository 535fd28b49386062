"""The table of trackers, and what W&B and MLflow are told; both are stand-ins here."""

import sys
import types

import pytest

from assl_jax.errors import InputError
from assl_jax.training import trackers
from assl_jax.training.metrics_log import recording
from assl_jax.training.trackers import TRACKERS, Kind, Tracked, trackers_of

PLACE = {"stage": "finetune-a-1", "kind": "finetune", "label": "a"}


@pytest.fixture
def told():
    return []


@pytest.fixture
def wandb(monkeypatch, told):
    """A W&B that remembers what it is told."""

    def init(**settings):
        told.append(("init", settings))
        return types.SimpleNamespace(
            define_metric=lambda name, step_metric: told.append(("axis", name, step_metric)),
            log=lambda values: told.append(("log", values)),
            finish=lambda: told.append("finish"),
        )

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


@pytest.fixture
def mlflow(monkeypatch, told):
    """An MLflow that remembers what it is told, and has no experiment yet."""

    class Client:
        def get_experiment_by_name(self, title):
            return None

        def create_experiment(self, title):
            return f"id of {title}"

        def create_run(self, experiment, run_name):
            told.append(("run", experiment, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="7"))

        def log_metric(self, run, key, value, step):
            told.append((run, key, value, step))

        def set_terminated(self, run):
            told.append(("end", run))

    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=Client))
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


def test_wandb_has_an_axis_for_each_curve(tmp_path, wandb, told):
    with recording(tmp_path, **PLACE, log_to=("wandb",)) as record:
        for run in ("test 0", "test 1"):  # each starts again at step 1
            record(task="target", run=run, step=1, values={"loss": 0.5})
            record(task="target", run=run, step=2, values={"loss": 0.25})
    settings = {"project": "assl_jax", "name": tmp_path.name, "dir": str(tmp_path)}
    assert told[0] == ("init", {**settings, "reinit": "create_new"}) and told[-1] == "finish"
    axes = [entry[1:] for entry in told if entry[0] == "axis"]
    assert axes == [(f"target/test_{i}/loss", f"target/test_{i}/step") for i in (0, 1)]
    logged = [entry[1] for entry in told if entry[0] == "log"]
    assert logged[1] == {"target/test_0/step": 2, "target/test_0/loss": 0.25}
    assert len(logged) == 4 and not (tmp_path / "tensorboard").exists()


def test_mlflow_has_a_run_for_each_stage(tmp_path, mlflow, told):
    with recording(tmp_path, **PLACE, log_to=("mlflow",)) as record:
        record(task="target", run="test+0", step=3, values={"loss": 0.5})
    assert told == [
        ("run", "id of assl_jax", tmp_path.name),
        ("7", "target/test_0/loss", 0.5, 3),
        ("end", "7"),
    ]


def test_several_trackers_hear_the_same_and_nothing_opens_early(tmp_path, monkeypatch, told):
    def make(folder):
        told.append(folder)
        return types.SimpleNamespace(
            log=lambda *point: told.append(point), close=lambda: told.append("close")
        )

    for name in ("a", "b"):
        monkeypatch.setitem(TRACKERS, name, Kind("json", make))
    tracked = Tracked(trackers_of("a, b"), tmp_path)
    tracked.log("memory", 1, {})
    tracked.close()
    assert told == []
    tracked.log("src", 1, {"loss": 0.5})
    tracked.close()
    assert told == [tmp_path] * 2 + [("src", 1, {"loss": 0.5})] * 2 + ["close"] * 2


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("tensorbord", "did you mean 'tensorboard'"),
        ("tensorboard,tensorboard", "names a tracker twice"),
        ("a", "log_to=a needs the package no_such_package: pip install no_such_package"),
    ],
)
def test_mistakes_are_found_before_anything_runs(monkeypatch, names, says):
    monkeypatch.setitem(TRACKERS, "a", Kind("no_such_package", trackers.TensorBoard))
    with pytest.raises(InputError, match=says):
        trackers_of(names)


def test_no_tracker_is_a_choice(tmp_path):
    assert trackers_of("") == ()
    with recording(tmp_path, **PLACE, log_to=()) as record:
        record(task="target", step=1, values={"loss": 0.5})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
