"""Where curves are shown: TensorBoard, Weights & Biases or MLflow, in one table, `TRACKERS`."""

import contextlib
import functools
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from assl_jax.console import say
from assl_jax.errors import InputError, lookup, require
from assl_jax.files import digest, try_lock
from assl_jax.records import CONFIG
from assl_jax.training.processes import is_primary

PROJECT = "assl_jax"  # of the runs in W&B, and of the experiment in MLflow


class Tracker(Protocol):
    """Receives measured values while a stage, or all stages of a run, are computed."""

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to some curves.

        A curve is a task, and the run if a stage has several: `"target/cv_0_1"`. The name of the
        stage comes first in a tracker of all stages. Every run of a stage starts again at step 1.
        """

    def close(self) -> None:
        """Finish; nothing is logged afterwards."""


class TensorBoard:
    """Event files in the stage's `tensorboard/`."""

    def __init__(self, folder: Path, key: str) -> None:
        import tensorboardX

        # tensorboardX names files by the second. Two files of one second would be one.
        suffix = f".{time.time_ns()}"
        self._writer = tensorboardX.SummaryWriter(
            str(folder / "tensorboard"), filename_suffix=suffix
        )

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{curve}/{name}", value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """One quiet run for all stages; `WANDB_MODE`, `WANDB_PROJECT` and the like are respected."""

    def __init__(self, folder: Path, key: str) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            group=folder.name,  # processes that share the work have a run each
            dir=str(folder),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
            # Offline, W&B resumes nothing, and says so.
            **({"id": key, "resume": "allow"} if key and not _offline() else {}),
        )
        self._curves: set[str] = set()

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        # Its own steps only increase. Each curve has an axis of its own.
        axis = f"{curve}/step"
        for name in values:
            if (key := f"{curve}/{name}") not in self._curves:
                self._run.define_metric(key, step_metric=axis)
                self._curves.add(key)
        self._run.log({axis: step, **{f"{curve}/{name}": v for name, v in values.items()}})

    def close(self) -> None:
        self._run.finish()


def _offline() -> bool:
    return os.environ.get("WANDB_MODE", "") in ("offline", "disabled", "dryrun")


class MLflow:
    """One run for all stages; `MLFLOW_TRACKING_URI` and the like are respected."""

    def __init__(self, folder: Path, key: str) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(title)
        experiment = found.experiment_id if found else self._client.create_experiment(title)
        earlier = self._client.search_runs([experiment], f"tags.{PROJECT} = '{key}'") if key else []
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, "RUNNING")
            return
        run = self._client.create_run(experiment, run_name=folder.name, tags={PROJECT: key})
        self._id = run.info.run_id

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            key = re.sub(r"[^\w\-. /]", "_", f"{curve}/{name}")  # MLflow allows no others
            self._client.log_metric(self._id, key, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._id)


class Kind(NamedTuple):
    """A kind of tracker.

    Attributes:
      package: that it needs.
      make: makes one, from a folder and a key that is the same whenever a run goes on; "" for none.
      whole: whether one serves all stages of a run, and not a single stage.
    """

    package: str
    make: Callable[[Path, str], Tracker]
    whole: bool = False


TRACKERS = {
    "tensorboard": Kind("tensorboardX", TensorBoard),
    "wandb": Kind("wandb", WeightsAndBiases, whole=True),
    "mlflow": Kind("mlflow", MLflow, whole=True),
}
DEFAULT = ("tensorboard",)
FOLDERS = ("tensorboard", "wandb")  # of a stage; a user or the tracker may tidy them


def trackers_of(names: str) -> tuple[str, ...]:
    """The names in a list with commas; an empty list is one of no tracker."""
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    require(len(set(found)) == len(found), f"log_to={names!r} names a tracker twice")
    for name in found:
        package = lookup(TRACKERS, name, "log_to").package
        require(
            importlib.util.find_spec(package) is not None,
            f"log_to={name} needs the package {package}: pip install {package}",
        )
    return found


_of_run: Callable[[str], Tracker] | None = None  # a tracker of all stages of a run, by its name


@contextlib.contextmanager
def one_run(workdir: Path, names: tuple[str, ...]) -> Iterator[None]:
    """Inside, W&B and MLflow show all stages of this process as one run with the workdir's name.

    A run that goes on later is the same there. Of several processes this holds for the first; the
    others, which share its work, have runs of their own.
    """
    global _of_run
    if not is_primary() or not any(TRACKERS[name].whole for name in names):
        yield
        return
    began = (workdir / CONFIG).stat().st_mtime_ns
    with contextlib.ExitStack() as held:
        lock = try_lock(workdir / ".trackers.lock")
        if lock:
            held.callback(lock.release)
        key = digest([str(workdir.resolve()), began]) if lock else ""

        @functools.cache
        def tracker(name: str) -> Tracker:
            made = _made(name, workdir, key)
            held.callback(made.close)
            return made

        _of_run = tracker
        try:
            yield
        finally:
            _of_run = None


def _made(name: str, folder: Path, key: str) -> Tracker:
    try:
        return TRACKERS[name].make(folder, key)
    except Exception as error:
        if not TRACKERS[name].whole:
            raise
        # Of a package in any version, or of its server.
        raise InputError(
            f"log_to={name} cannot begin: {error}; mend it, or leave it out"
        ) from error


class Tracked:
    """Some trackers of one stage as one; each is made when the first value comes."""

    def __init__(self, names: tuple[str, ...], folder: Path) -> None:
        self._names, self._folder = names, folder
        self._open: dict[str, Tracker] | None = None

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        if not values:
            return
        if self._open is None:
            self._open = {name: self._tracker(name) for name in self._names}
        for name, tracker in list(self._open.items()):
            whole = TRACKERS[name].whole
            try:
                tracker.log(f"{self._folder.name}/{curve}" if whole else curve, step, values)
            except Exception as error:
                if not whole:
                    raise
                # A server that fails must not stop a run.
                say(f"log_to={name} failed, and this stage goes on without it: {error}")
                del self._open[name]

    def _tracker(self, name: str) -> Tracker:
        if _of_run and TRACKERS[name].whole:
            return _of_run(name)
        return _made(name, self._folder, "")

    def close(self) -> None:
        for name, tracker in (self._open or {}).items():
            if not (_of_run and TRACKERS[name].whole):
                tracker.close()
        self._open = None
