"""Many fine-tunings of one network: on which images, and what they predict."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assl_jax.console import Progress
from assl_jax.data import Dataset
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.files import read_array, write_array
from assl_jax.seeds import derived
from assl_jax.strategies.settings import TargetSettings
from assl_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from assl_jax.training.interrupt import check_stop
from assl_jax.training.loop import Logging, Session
from assl_jax.training.processes import broadcast, is_primary
from assl_jax.training.state import TrainState


class Run(NamedTuple):
    """One fine-tuning: rows to train on, rows to predict, and the random seed."""

    train: np.ndarray
    test: np.ndarray
    seed: int


Runs = Mapping[str, Run]
FOR_RATES = 1000  # the `repeat` that chooses learning rates; those of a search are far below


def runs_on_all_labels(dataset: Dataset, settings: TargetSettings, seed: int) -> dict[str, Run]:
    """Fine-tunings on every labelled set, `settings.seeds` times each, by name."""
    return {
        f"test {i} {s}": Run(rows, dataset.test, derived(seed, "fine-tuning", s))
        for i, rows in enumerate(dataset.labelled_sets)
        for s in range(settings.seeds)
    }


def fold_runs(
    dataset: Dataset, settings: TargetSettings, seed: int, repeat: int = 0
) -> dict[str, Run]:
    """Fine-tunings of the cross-validation inside every labelled set, by name.

    Each `repeat` divides the labelled set into other folds and fine-tunes with other seeds.
    """
    runs = {}
    for i, rows in enumerate(dataset.labelled_sets if settings.folds else ()):
        labels, groups = dataset.labels[rows], dataset.groups[rows]
        folds = stratified_folds(
            labels,
            settings.folds,
            seed=derived(seed, "folds", repeat),
            groups=groups,
            names=dataset.class_names,
        )
        for f, fold in enumerate(folds):
            train = np.delete(rows, fold)
            own = derived(seed, "fine-tuning", "fold", repeat, f)
            runs[f"cv {i} {f}"] = Run(train, rows[fold], own)
    return runs


def finetune_all(
    target: Target,
    variables: dict[str, Any] | None,
    runs: Runs,
    *,
    folder: Path,
    title: str,
    logging: Logging,
    checkpoint_every: int = 0,
    keep: Callable[[int, TrainState], None] | None = None,
) -> dict[str, np.ndarray]:
    """Fine-tune for every run and predict.

    Args:
      target: images, labels and the network.
      variables: the pretrained backbone; None trains from scratch.
      runs: by name.
      folder: where the probabilities of each run are saved. Files from an earlier call are reused.
      title: of the progress bar.
      logging: its records get the name of the run.
      checkpoint_every: steps between two checkpoints of an unfinished run, beside `folder`.
      keep: called with the number of a run, from 0, and its state, unless it was finished earlier.

    Returns:
      Probabilities `[n, k]` of the run's test rows, by the name of the run.

    Raises:
      Interrupted: a stop was requested; finished runs and a checkpoint are kept.
    """
    unfinished = folder.with_name(CHECKPOINTS)
    if is_primary():
        folder.mkdir(exist_ok=True)
    finished = broadcast([name for name in runs if (folder / file_of(name)).exists()])
    probabilities: dict[str, np.ndarray] = {}
    heads: dict[bytes, Any] = {}  # by the rows of training
    with Progress(title, len(runs)) as progress:
        for i, (name, run) in enumerate(runs.items()):
            path = folder / file_of(name)
            if name in finished:
                probabilities[name] = read_array(path)
            else:
                check_stop(title)
                rows = run.train.tobytes()
                if rows not in heads:
                    heads[rows] = target.first_head(variables, run.train)
                checkpoints = Checkpoints(unfinished / path.stem, checkpoint_every, last=False)
                session = Session(
                    seed=run.seed,
                    checkpoints=checkpoints,
                    logging=dataclasses.replace(logging, run=name),
                )
                state = target.finetune(variables, run.train, session, heads[rows])
                if keep:
                    keep(i, state)
                probabilities[name] = target.probabilities(state, run.test)
                if is_primary():
                    write_array(path, probabilities[name])
                checkpoints.close()
            hits = probabilities[name].argmax(1) == target.labels[run.test]
            progress.update(i + 1, f"accuracy {100 * hits.mean():.1f} %")
    if is_primary():
        shutil.rmtree(unfinished, ignore_errors=True)
    return probabilities


def file_of(run: str) -> str:
    """The file of a run's probabilities."""
    return f"{run.replace(' ', '_')}.npy"
