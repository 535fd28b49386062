"""The table of trackers, and what W&B and MLflow are told; both are stand-ins here."""

import os
import sys
import types

import pytest
from filelock import FileLock

from assl_jax.errors import InputError
from assl_jax.training import trackers
from assl_jax.training.metrics_log import recording
from assl_jax.training.trackers import TRACKERS, Kind, Tracked, one_run, trackers_of

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

    module = types.SimpleNamespace(init=init, Settings=lambda **quiet: quiet)
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_PROJECT", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mlflow(monkeypatch, told):
    """An MLflow that remembers what it is told, and has no experiment yet."""
    runs = []

    class Client:
        def get_experiment_by_name(self, title):
            return None

        def create_experiment(self, title):
            return f"id of {title}"

        def search_runs(self, experiments, filter_string):
            key = filter_string.removeprefix("tags.assl_jax = '").removesuffix("'")
            return [run for run in runs if run.tags == {"assl_jax": key}]

        def create_run(self, experiment, run_name, tags):
            told.append(("run", experiment, run_name))
            info = types.SimpleNamespace(run_id=str(7 + len(runs)))
            runs.append(types.SimpleNamespace(info=info, tags=tags))
            return runs[-1]

        def update_run(self, run, status):
            told.append((run, status))

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
    name = tmp_path.name
    settings = {"project": "assl_jax", "name": name, "group": name, "dir": str(tmp_path)}
    quiet = {"silent": True, "console": "off"}
    assert told[0] == ("init", {**settings, "reinit": "create_new", "settings": quiet})
    assert told[-1] == "finish"
    axes = [entry[1:] for entry in told if entry[0] == "axis"]
    curves = [f"{name}/target/test_{i}" for i in (0, 1)]
    assert axes == [(f"{curve}/loss", f"{curve}/step") for curve in curves]
    logged = [entry[1] for entry in told if entry[0] == "log"]
    assert logged[1] == {f"{curves[0]}/step": 2, f"{curves[0]}/loss": 0.25}
    assert len(logged) == 4 and not (tmp_path / "tensorboard").exists()


@pytest.fixture
def search(tmp_path):
    """`search(names)`: a run of two stages with these trackers, in one workdir."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text("{}")

    def go(*names):
        with one_run(workdir, names):
            for stage in ("a", "b"):
                (tmp_path / stage).mkdir(exist_ok=True)
                with recording(tmp_path / stage, **PLACE, log_to=names) as record:
                    record(task="src", step=1, values={"loss": 0.5})

    return go


def test_a_search_is_one_run_of_wandb_that_goes_on(search, tmp_path, wandb, told, monkeypatch):
    search("wandb", "tensorboard")
    search("wandb")
    begun = [entry[1] for entry in told if entry[0] == "init"]
    assert len(begun) == 2 and told.count("finish") == 2  # one for each process
    assert {run["name"] for run in begun} == {"run"}
    assert begun[0]["id"] == begun[1]["id"] and begun[0]["resume"] == "allow"
    logged = [entry[1] for entry in told if entry[0] == "log"]
    assert [list(values)[1] for values in logged[:2]] == ["a/src/loss", "b/src/loss"]
    assert (tmp_path / "a" / "tensorboard").exists() and not (tmp_path / "run/tensorboard").exists()
    (tmp_path / "run" / "config.json").write_text("{}")
    os.utime(tmp_path / "run" / "config.json", (1, 1))  # another run in the same folder
    search("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    search("wandb")
    *_, other, offline = (entry[1] for entry in told if entry[0] == "init")
    assert other["id"] != begun[0]["id"] and "id" not in offline


def test_a_second_process_of_a_search_has_a_run_of_its_own(search, tmp_path, wandb, told):
    with FileLock(tmp_path / "run" / ".trackers.lock"):
        search("wandb")
    (settings,) = (entry[1] for entry in told if entry[0] == "init")
    assert "id" not in settings and settings["group"] == "run"


def test_a_search_is_one_run_of_mlflow_that_goes_on(search, mlflow, told):
    search("mlflow")
    search("mlflow")
    points = [("7", f"{stage}/src/loss", 0.5, 1) for stage in ("a", "b")]
    assert told == [
        *(("run", "id of assl_jax", "run"), *points, ("end", "7")),
        *(("7", "RUNNING"), *points, ("end", "7")),
    ]


def test_mlflow_takes_few_signs(tmp_path, mlflow, told):
    with recording(tmp_path, **PLACE, log_to=("mlflow",)) as record:
        record(task="target", run="test+0", step=3, values={"loss": 0.5})
    assert told[1] == ("7", f"{tmp_path.name}/target/test_0/loss", 0.5, 3)


def test_a_server_that_fails_stops_no_run(search, tmp_path, wandb, told, monkeypatch, capsys):
    def fail(*_):
        raise ConnectionError("no route")

    broken = types.SimpleNamespace(log=fail, close=lambda: None)
    monkeypatch.setitem(TRACKERS, "wandb", Kind("json", lambda *_: broken, whole=True))
    search("wandb", "tensorboard")
    assert capsys.readouterr().err.count("log_to=wandb failed") == 2  # once for each stage
    assert (tmp_path / "b" / "tensorboard").exists()
    monkeypatch.setitem(TRACKERS, "wandb", Kind("json", fail, whole=True))
    with pytest.raises(InputError, match="log_to=wandb cannot begin: no route; mend it"):
        search("wandb")


def test_several_trackers_hear_the_same_and_nothing_opens_early(tmp_path, monkeypatch, told):
    def make(folder, key):
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


def test_a_missing_package_is_found_before_anything_runs(monkeypatch):
    monkeypatch.setitem(TRACKERS, "a", Kind("no_such_package", trackers.TensorBoard))
    says = "log_to=a needs the package no_such_package: pip install no_such_package"
    with pytest.raises(InputError, match=says):
        trackers_of("a")


def test_no_tracker_is_a_choice(tmp_path):
    assert trackers_of("") == ()
    with recording(tmp_path, **PLACE, log_to=()) as record:
        record(task="target", step=1, values={"loss": 0.5})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
