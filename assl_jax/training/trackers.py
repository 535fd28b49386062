"""Where curves are shown: TensorBoard, Weights & Biases or MLflow, in one table, `TRACKERS`."""

import importlib.util
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from assl_jax.errors import lookup, require

PROJECT = "assl_jax"  # of the runs in W&B, and of the experiment in MLflow


class Tracker(Protocol):
    """Receives the measured values of one stage while it runs."""

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to some curves.

        Args:
          curve: the task, and the run if a stage has several: `"target/cv_0_1"`.
          step: of this curve; every run of a stage starts again at 1.
          values: by name.
        """

    def close(self) -> None:
        """Finish; nothing is logged afterwards."""


class TensorBoard:
    """Event files in the stage's `tensorboard/`."""

    def __init__(self, folder: Path) -> None:
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
    """A run for each stage; `WANDB_MODE`, `WANDB_PROJECT` and the like are respected."""

    def __init__(self, folder: Path) -> None:
        import wandb

        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._run = wandb.init(
            project=project, name=folder.name, dir=str(folder), reinit="create_new"
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


class MLflow:
    """A run for each stage; `MLFLOW_TRACKING_URI` and the like are respected."""

    def __init__(self, folder: Path) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(title)
        experiment = found.experiment_id if found else self._client.create_experiment(title)
        run = self._client.create_run(experiment, run_name=folder.name)
        self._id = run.info.run_id

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            key = re.sub(r"[^\w\-. /]", "_", f"{curve}/{name}")  # MLflow allows no others
            self._client.log_metric(self._id, key, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._id)


class Kind(NamedTuple):
    """A kind of tracker: the package that it needs, and how one is made for a stage's folder."""

    package: str
    make: Callable[[Path], Tracker]


TRACKERS = {
    "tensorboard": Kind("tensorboardX", TensorBoard),
    "wandb": Kind("wandb", WeightsAndBiases),
    "mlflow": Kind("mlflow", MLflow),
}
DEFAULT = ("tensorboard",)
FOLDERS = ("tensorboard", "wandb")  # of a stage; a user or the tracker may tidy them


def trackers_of(names: str) -> tuple[str, ...]:
    """The names in a list with commas; an empty list is one of no tracker.

    Raises:
      InputError: an unknown name, a name given twice, or a package that is not installed.
    """
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    require(len(set(found)) == len(found), f"log_to={names!r} names a tracker twice")
    for name in found:
        package = lookup(TRACKERS, name, "log_to").package
        require(
            importlib.util.find_spec(package) is not None,
            f"log_to={name} needs the package {package}: pip install {package}",
        )
    return found


class Tracked:
    """Some trackers of one stage as one; each is made when the first value comes."""

    def __init__(self, names: tuple[str, ...], folder: Path) -> None:
        self._names, self._folder = names, folder
        self._open: list[Any] = []

    def log(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        if values and not self._open:
            self._open = [TRACKERS[name].make(self._folder) for name in self._names]
        for tracker in self._open if values else []:
            tracker.log(curve, step, values)

    def close(self) -> None:
        for tracker in self._open:
            tracker.close()
        self._open = []
