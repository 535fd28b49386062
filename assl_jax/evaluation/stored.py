"""What fine-tuned networks predicted, as a stage keeps it; metrics are read from it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from assl_jax.evaluation.uncertainty import summarise
from assl_jax.files import read_array, write_array
from assl_jax.records import DONE, Evaluation, Predicted, StageRecord, read

FOLDER = "predictions"  # of a stage


def file_of(run: str) -> str:
    """The file of a run's probabilities."""
    return f"{run.replace(' ', '_')}.npy"


def predictions(stage: Path, runs: Iterable[str]) -> list[np.ndarray]:
    """The probabilities `[n, k]` of some runs of a stage, in the order of its test rows."""
    return [read_array(stage / FOLDER / file_of(run)) for run in runs]


def write_truth(stage: Path, labels: np.ndarray, groups: np.ndarray) -> None:
    """Keep the classes and the patients of the test images beside what was predicted of them."""
    write_array(stage / FOLDER / "labels.npy", labels)
    write_array(stage / FOLDER / "groups.npy", groups)


def evaluation(stage: Path) -> Evaluation:
    """The metrics of a network's fine-tunings on all labels, from its stage alone."""
    result = read(stage / DONE, StageRecord).result
    assert isinstance(result, Predicted)
    labels, groups = (read_array(stage / FOLDER / f"{name}.npy") for name in ("labels", "groups"))
    return summarise(labels, predictions(stage, result.runs), groups)
