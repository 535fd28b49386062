"""Experiments on arrays in memory: one call, with the records and the report of a command."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.config import RunConfig, base_config
from assl_jax.config_reading import complete, defaults, strangers, typed
from assl_jax.data import Dataset
from assl_jax.data.in_memory import in_memory
from assl_jax.errors import Mistakes, require
from assl_jax.experiment import run
from assl_jax.records import Results, flat_settings


def search(
    unlabeled: np.ndarray,
    labelled: tuple[np.ndarray, np.ndarray] | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    workdir: str | Path,
    settings: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
) -> Results:
    """Run Algorithm 1, or another experiment, on arrays; a second call continues the first one.

    For example `search(images, (few, classes), (others, their_classes), workdir="runs/mine",
    settings={"tasks": "simclr,rotation", "pretrain.steps": 500})`.

    Args:
      unlabeled, labelled, test, class_names: see `data.in_memory.in_memory`.
      workdir: folder of the run; its stages lie in `stages` next to it.
      settings: those that differ from the defaults, by key; `experiment` is one of them.

    Returns:
      What `results.json` in `workdir` holds.

    Raises:
      InputError: arrays or settings that cannot be used, all mistakes of the settings at once.
    """
    dataset = in_memory(unlabeled, labelled, test, class_names)
    return run(_config(dataset, dict(settings or {})), Path(workdir), dataset=dataset)


def _config(dataset: Dataset, settings: dict[str, Any]) -> RunConfig:
    """The config of a run on arrays, with these settings."""
    config = base_config("memory")
    config.data.arrays = dataset.fingerprint(*dataset.labelled_sets, dataset.test, labelled=True)
    tasks = settings.get("tasks", config.tasks)
    require(isinstance(tasks, str), f"tasks={tasks!r} must be a text, as in 'src,rotation'")
    config.tasks = tasks
    with contextlib.suppress(Mistakes):  # unknown tasks are told below
        complete(config)
    flat = flat_settings(config.to_dict())
    of_data = [key for key in settings if key.startswith("data.")]
    lines = [f"{key}: the images are arrays here; leave it out" for key in of_data]
    lines += strangers(flat | settings, *defaults(config))
    known = settings.keys() & flat.keys() - {*of_data}
    with config.ignore_type():  # `typed` says what a value must be
        config.update_from_flattened_dict({key: settings[key] for key in known})
    return typed(config, lines)
