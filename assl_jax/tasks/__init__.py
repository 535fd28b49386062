"""Proxy tasks: one file each, and the table of their names.

`TASKS` holds those of this package. Other packages add theirs by entry points of `GROUP`, see
`plugins`.
"""

import dataclasses
from typing import Any, NamedTuple

from assl_jax import plugins
from assl_jax.errors import InputError, lookup, require
from assl_jax.objectives.distilled import Distilled
from assl_jax.tasks.base import Batch, Metrics, ProxyTask, spare_colour
from assl_jax.tasks.byol import BYOL
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
from assl_jax.tasks.vicreg import VICReg

TASKS: dict[str, type[ProxyTask]] = {
    task.name: task
    for task in (
        *(SRC, MCPC, SCASSL, Jigsaw, Rotation, Inpaint, SimCLR, VICReg, BYOL),
        *(CPC, ModelsGenesis, RubiksCube),
    )
}

GROUP = "assl_jax.tasks"

__all__ = [
    "GROUP",
    "TASKS",
    "Batch",
    "Label",
    "Metrics",
    "ProxyTask",
    "describe",
    "make_task",
    "task_class",
]


class Label(NamedTuple):
    """How a report presents a task; the fields are those of `ProxyTask`."""

    title: str
    short: str
    summary: str
    colour: str


def describe(name: str) -> Label:
    """The label of a task; an unknown name, as a teacher's, is its own title.

    Args:
      name: a task's name.
    """
    try:
        task = task_class(name)
    except InputError:
        title = Distilled.title if name == Distilled.name else name
        return Label(title=title, short=title, summary="", colour=spare_colour(name))
    return Label(task.title, task.short, task.summary, task.colour)


def task_class(name: str) -> type[ProxyTask]:
    """The class of the task called `name`.

    Args:
      name: one of `TASKS`, of another package, or `module:Class`. The task is in `TASKS` from then
        on, under the name that it declares.

    Raises:
      InputError: an unknown name, something else than a proxy task, or another task of its name.
    """
    kind = plugins.load(TASKS, name, "task", GROUP)
    require(
        isinstance(kind, type) and ProxyTask in kind.__mro__ and dataclasses.is_dataclass(kind),
        f"task={name!r} must be a dataclass that derives from assl_jax.tasks.ProxyTask",
    )
    require(
        TASKS.setdefault(kind.name, kind) is kind,
        f"task={name!r} calls itself {kind.name!r} as another task does; give it another name",
    )
    return kind


def make_task(name: str, **settings: Any) -> ProxyTask:
    """A proxy task by name, with its settings.

    Raises:
      InputError: an unknown name or setting (the message shows the nearest), or a value out of
        range.
    """
    kind = task_class(name)
    fields = {field.name: None for field in dataclasses.fields(kind)}
    for setting in settings:
        lookup(fields, setting, f"setting of task {name}")
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(f"task {name}: {error}") from error
