"""The compiled training step of a proxy task, also for devices that are not there."""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp

from assl_jax.models import make_backbone, suggest_delay
from assl_jax.tasks import make_task
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import everywhere, make_mesh, split
from assl_jax.training.state import init_state
from assl_jax.training.step import make_step

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
# The result of a collective, its kind, and whether it is one end of an asynchronous one.
COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
    r"(-start|-done)?\("
)
SHAPE = re.compile(r"\b(\w+)\[([\d,]*)\]")


def initial(task_name: str, shape: tuple[int, ...], network: dict) -> tuple[Any, Any, Any, Any]:
    """A task with its defaults, a backbone, the shape of a batch, and the state of a training.

    Args:
      task_name: of the task.
      shape: of a whole batch, `[b, *space, c]`.
      network: settings of the backbone.
    """
    task = make_task(task_name)
    backbone = make_backbone(delay=suggest_delay(shape[1:-1]), **network)
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    return (
        task,
        backbone,
        images,
        init_state(jax.random.key(0), backbone, task, Optimiser(), images),
    )


def step_of(
    task_name: str, devices: list[Any], shape: tuple[int, ...], network: dict, platform: str
) -> tuple[Any, tuple[Any, ...]]:
    """The step of a task, and the shapes of its arguments: `step.lower(*shapes)` traces it.

    Args:
      task_name, shape, network: as in `initial`.
      devices: to compile for; the batch is split over them.
      platform: of the devices.
    """
    task, backbone, images, state = initial(task_name, shape, network)
    mesh = make_mesh(devices)

    def placed(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree
        )

    given = state, jax.random.key(0), jnp.float32(1e-3)
    state, key, rate = placed(given, everywhere(mesh))
    examples = Examples(placed(images, split(mesh)), None)
    step = make_step(backbone, task, Optimiser(), platform=platform)
    return step, (state, examples, key, rate, None)


def collectives(program: str) -> dict[str, tuple[int, int]]:
    """How many collectives of each kind a compiled program has, and the bytes of their results."""
    found: dict[str, tuple[int, int]] = {}
    for line in program.splitlines():
        match = COLLECTIVE.search(re.sub(r"\{[^{}]*\}", "", line))  # without layouts
        if not match or match[3] == "-start":  # the end has the result
            continue
        kind = match[2]
        size = sum(
            BYTES[dtype] * math.prod(int(n) for n in dims.split(",") if n)
            for dtype, dims in SHAPE.findall(match[1])
            if dtype in BYTES
        )
        count, total = found.get(kind, (0, 0))
        found[kind] = count + 1, total + size
    return found
