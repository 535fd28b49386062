"""Proxy tasks: one file each, and the mapping from a name to its class."""

import dataclasses
from typing import Any

from assl_jax.errors import InputError, lookup
from assl_jax.tasks.base import Batch, Metrics, ProxyTask
from assl_jax.tasks.cpc import CPC
from assl_jax.tasks.inpaint import Inpaint
from assl_jax.tasks.jigsaw import Jigsaw
from assl_jax.tasks.mcpc import MCPC
from assl_jax.tasks.models_genesis import ModelsGenesis
from assl_jax.tasks.rotation import Rotation
from assl_jax.tasks.rubiks_cube import RubiksCube
from assl_jax.tasks.sc_assl import SCASSL
from assl_jax.tasks.simclr import SimCLR
from assl_jax.tasks.src import SRC

TASKS: dict[str, type[ProxyTask]] = {
    task.name: task
    for task in (
        *(SRC, MCPC, SCASSL, Jigsaw, Rotation, Inpaint, SimCLR),
        *(CPC, ModelsGenesis, RubiksCube),
    )
}

__all__ = ["TASKS", "Batch", "Metrics", "ProxyTask", "make_task"]


def make_task(name: str, **settings: Any) -> ProxyTask:
    """A proxy task by name, with its settings.

    Raises:
      InputError: an unknown name (the nearest is shown) or an unknown setting.
    """
    kind = lookup(TASKS, name, "task")
    fields = {field.name: None for field in dataclasses.fields(kind)}
    for setting in settings:
        lookup(fields, setting, f"setting of task {name}")
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(f"task {name}: {error}") from error
