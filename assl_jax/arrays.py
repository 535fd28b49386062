"""Experiments on arrays in memory: one call, with the records and the report of a command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.config import base_config
from assl_jax.config_reading import complete, typed
from assl_jax.data.in_memory import in_memory
from assl_jax.errors import Mistakes, nearest
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
    config = base_config("memory")
    config.data.arrays = dataset.fingerprint(*dataset.labelled_sets, dataset.test, labelled=True)
    config.tasks = dict(settings or {}).get("tasks", config.tasks)
    complete(config)
    known = flat_settings(config.to_dict())
    if strange := [key for key in settings or {} if key not in known]:
        raise Mistakes([nearest(known, key, "setting") for key in strange])
    with config.ignore_type():
        config.update_from_flattened_dict(dict(settings or {}))
    results = run(typed(config), Path(workdir), dataset=dataset)
    assert results
    return results
