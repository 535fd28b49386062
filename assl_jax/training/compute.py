"""Floating-point operations of a training step, counted from its program and not from a clock."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from assl_jax.models.cpu import plain_forms
from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.tasks import ProxyTask
from assl_jax.training.step import forward

PASSES = 3  # forward, gradient of the inputs, gradient of the weights


@functools.lru_cache(maxsize=256)
def step_flops(
    backbone: nn.Module,
    task: ProxyTask,
    shape: tuple[int, ...],
    dtype: Any,
    frozen: int = 0,
    labelled: bool = False,
) -> float:
    """Floating-point operations of all convolutions and matrix products in a training step.

    Backbone and head count with `PASSES`, and each frozen network with one pass over the backbone.
    The operations are those of the plain forms, so the number is the same on every machine.
    Augmentation, normalisation and the optimiser are left out.

    Args:
      backbone: the network.
      task: gives the inputs and the head.
      shape, dtype: of a batch of stored images, `(b, *space, c)`.
      frozen: number of frozen networks that see the inputs too. The moving average of a task with
        a momentum is added.
      labelled: whether the task sees labels too, as the target task does.
    """
    frozen += task.momentum > 0
    key = jax.random.key(0)
    images: Any = jax.ShapeDtypeStruct(shape, dtype)
    if labelled:
        images = images, jax.ShapeDtypeStruct(shape[:1], np.int32)
    with plain_forms():
        batch = jax.eval_shape(task.make_batch, key, images)
        inputs: Any = jax.eval_shape(flatten_views, batch.inputs)
        maps: Any
        maps, variables = jax.eval_shape(backbone.init_with_output, key, inputs)
        features = jax.eval_shape(
            lambda m: jax.tree.map(lambda f: unflatten_views(f, shape[0]), m), maps
        )
        head = task.head()
        params = {
            "backbone": variables["params"],
            "heads": {task.name: jax.eval_shape(head.init, key, features, batch).get("params", {})},
        }
        trained = flops_of(
            lambda p, s, b: forward(backbone, head, p, s, b, task.name),
            *(params, variables.get("batch_stats", {}), batch),
        )
        alone = flops_of(lambda v, x: backbone.apply(v, x), variables, inputs) if frozen else 0.0
    return PASSES * trained + frozen * alone


def flops_of(function: Callable, *arguments: Any) -> float:
    """Floating-point operations of all convolutions and matrix products in `function`.

    A multiplication and an addition are two operations. Everything that is computed counts: zeros
    of the padding count if the form of the convolution multiplies by them. A loop counts as often
    as it runs. A conditional counts its most expensive branch, or, if the platform decides, the
    branch of this platform.
    """
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr: Any) -> float:
    total = 0.0
    for eqn in jaxpr.eqns:
        params, inner = eqn.params, list(map(_flops, _inner(eqn.params)))
        if eqn.primitive.name == "dot_general":
            left, (contracted, _) = eqn.invars[0].aval.shape, params["dimension_numbers"][0]
            total += 2 * _size(eqn) * math.prod(left[axis] for axis in contracted)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, outputs = eqn.invars[1].aval.shape, params["dimension_numbers"].rhs_spec[0]
            each = math.prod(kernel) / kernel[outputs] / math.prod(params["lhs_dilation"])
            total += 2 * _size(eqn) * each
        elif eqn.primitive.name == "cond":
            total += _of_branches(inner, params.get("branches_platforms"))
        else:
            total += sum(inner) * params.get("length", 1)
    return total


def _of_branches(costs: Sequence[float], platforms: Sequence[Sequence[str] | None] | None) -> float:
    """The cost of a conditional with these branches; `platforms` are those of each branch."""
    if not platforms:
        return max(costs)
    own = jax.default_backend()  # the branch without names is for all other platforms
    pairs = zip(costs, platforms, strict=True)
    return next(cost for cost, names in pairs if names is None or own in names)


def _size(eqn: Any) -> int:
    return math.prod(eqn.outvars[0].aval.shape)


def _inner(params: dict[str, Any]) -> list[Any]:
    """The jaxprs inside an equation."""
    found = jax.tree.leaves(list(params.values()), is_leaf=lambda p: hasattr(p, "jaxpr"))
    return [jaxpr for p in found if hasattr(jaxpr := getattr(p, "jaxpr", p), "eqns")]
