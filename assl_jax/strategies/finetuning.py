"""Many fine-tunings of one network: which ones, and what they found."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.data import Dataset
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.evaluation.scores import scores, summarise
from assl_jax.strategies.settings import TargetSettings
from assl_jax.strategies.stages import write_array
from assl_jax.training.interrupt import check_stop
from assl_jax.training.loop import Logging
from assl_jax.training.processes import broadcast, is_primary
from assl_jax.console import Progress
from assl_jax.training.state import TrainState

Runs = dict[str, tuple[np.ndarray, np.ndarray, int]]  # training rows, rows to judge it on, seed


def runs_on_all_labels(dataset: Dataset, settings: TargetSettings, seed: int) -> Runs:
    """Fine-tunings on all labels, by name."""
    return {
        f"test {i} {s}": (rows, dataset.test, 1000 * seed + s)
        for i, rows in enumerate(dataset.labelled_sets)
        for s in range(settings.seeds)
    }


def fold_runs(dataset: Dataset, settings: TargetSettings, seed: int) -> Runs:
    """Fine-tunings of the cross-validation inside every labelled set, by name."""
    runs = {}
    for i, rows in enumerate(dataset.labelled_sets if settings.folds else ()):
        labels, patients = dataset.labels[rows], dataset.groups[rows]
        folds = stratified_folds(labels, settings.folds, seed=seed, patients=patients)
        for f, fold in enumerate(folds):
            train = np.delete(rows, fold)
            runs[f"cv {i} {f}"] = (train, rows[fold], 1000 * seed + 500 + f)
    return runs


def finetune_all(
    target: Target,
    variables: dict[str, Any] | None,
    runs: Runs,
    *,
    folder: Path,
    title: str,
    logging: Logging,
    keep: Callable[[TrainState], None] | None = None,
) -> dict[str, np.ndarray]:
    """Fine-tune for every run, and judge it.

    Args:
      target: images, labels and the network.
      variables: the pretrained backbone; None trains from scratch.
      runs: which, by name.
      folder: gets each run's probabilities; those that are there already are read.
      title: of the progress bar.
      logging: its records get the run's name.
      keep: is given the first run's network.

    Returns:
      By run, probabilities `[n, k]` of the rows that it is judged on.

    Raises:
      Interrupted: a stop was asked for; finished runs are kept.
    """
    if is_primary():
        folder.mkdir(exist_ok=True)
    finished = broadcast([name for name in runs if (folder / file_of(name)).exists()])
    probabilities: dict[str, np.ndarray] = {}
    with Progress(title, len(runs)) as progress:
        for i, (name, (train, test, seed)) in enumerate(runs.items(), 1):
            done = folder / file_of(name)
            if name in finished:
                probabilities[name] = np.load(done, allow_pickle=False)
            else:
                check_stop(title)
                state = target.finetune(variables, train, seed=seed, logging=_named(logging, name))
                if keep and i == 1:
                    keep(state)
                probabilities[name] = target.probabilities(state, test)
                write_array(done, probabilities[name])
            found = scores(target.labels[test], probabilities[name])
            progress.update(i, f"accuracy {100 * found['accuracy']:.1f} %")
    return probabilities


def file_of(run: str) -> str:
    """The file of a run's probabilities."""
    return f"{run.replace(' ', '_')}.npy"


def summary(dataset: Dataset, probabilities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What fine-tunings found on the test set, from the probabilities that each run gave.

    Returns:
      `accuracy`, `std` and `runs`; `metrics` and `confusion`, see `evaluation.metrics.summarise`.
    """
    rows = dataset.test
    accuracies = [scores(dataset.labels[rows], p)["accuracy"] for p in probabilities.values()]
    return {
        "accuracy": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "runs": accuracies,
        **summarise(dataset.labels[rows], probabilities, dataset.groups[rows]),
    }


def _named(logging: Logging, run: str) -> Logging:
    record = logging.record
    if record is None:
        return logging
    return Logging(every=logging.every, record=lambda values: record({"run": run, **values}))
