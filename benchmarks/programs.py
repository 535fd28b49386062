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


def lowered(
    task_name: str, devices: list[Any], shape: tuple[int, ...], network: dict, platform: str
) -> Any:
    """The traced step of a task, ready to be compiled.

    Args:
      task_name: of the task, with its defaults.
      devices: to compile for; the batch is split over them.
      shape: of a whole batch, `[b, *space, c]`.
      network: settings of the backbone.
      platform: of the devices.
    """
    task = make_task(task_name)
    backbone = make_backbone(delay=suggest_delay(shape[1:-1]), **network)
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    key = jax.random.key(0)
    state = init_state(key, backbone, [task], Optimiser(), images)
    mesh = make_mesh(devices)

    def placed(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree
        )

    state, key, rate = placed((state, key, jnp.float32(1e-3)), everywhere(mesh))
    examples = Examples(placed(images, split(mesh)), None)
    step: Any = make_step(backbone, task, Optimiser(), platform=platform)
    return step.lower(state, examples, key, rate, None)


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
