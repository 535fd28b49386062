"""Proxy tasks: one file each, and the table of their names."""

import dataclasses
from typing import Any, NamedTuple

from assl_jax.errors import InputError, lookup
from assl_jax.tasks.base import Average, Batch, Metrics, ProxyTask, spare_colour
from assl_jax.tasks.byol import BYOL
from assl_jax.tasks.cpc import CPC
from assl_jax.tasks.distillation import Distillation
from assl_jax.tasks.inpaint import Inpaint
from assl_jax.tasks.jigsaw import Jigsaw
from assl_jax.tasks.mcpc import MCPC
from assl_jax.tasks.models_genesis import ModelsGenesis
from assl_jax.tasks.rotation import Rotation
from assl_jax.tasks.rubiks_cube import RubiksCube
from assl_jax.tasks.sc_assl import SCASSL
from assl_jax.tasks.simclr import SimCLR
from assl_jax.tasks.src import SRC
from assl_jax.tasks.vicreg import VICReg

TASKS: dict[str, type[ProxyTask]] = {
    task.name: task
    for task in (
        *(SRC, MCPC, SCASSL, Jigsaw, Rotation, Inpaint, SimCLR, VICReg, BYOL),
        *(CPC, ModelsGenesis, RubiksCube),
    )
}

__all__ = ["TASKS", "Average", "Batch", "Label", "Metrics", "ProxyTask", "describe", "make_task"]


class Label(NamedTuple):
    """How a report presents a task; the fields are those of `ProxyTask`."""

    title: str
    short: str
    summary: str
    colour: str


def describe(name: str) -> Label:
    """The label of a task; a name outside `TASKS`, as in another program's run, is its own title.

    Args:
      name: a task's name.
    """
    task = Distillation if name == Distillation.name else TASKS.get(name)
    if task is None:
        return Label(title=name, short=name, summary="", colour=spare_colour(name))
    return Label(task.title, task.short, task.summary, task.colour)


def make_task(name: str, **settings: Any) -> ProxyTask:
    """A proxy task by name, with its settings.

    Raises:
      InputError: an unknown name or setting (the message shows the nearest), or a value out of
        range.
    """
    kind = lookup(TASKS, name, "task")
    fields = {field.name: None for field in dataclasses.fields(kind)}
    for setting in settings:
        lookup(fields, setting, f"setting of task {name}")
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(f"task {name}: {error}") from error
