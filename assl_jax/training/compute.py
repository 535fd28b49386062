"""Floating-point operations of a training step, counted from its program and not from a clock."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from assl_jax.models.cpu import plain_forms
from assl_jax.models.heads import flatten_views
from assl_jax.objectives.base import Member, Objective
from assl_jax.objectives.joint import shares
from assl_jax.training.state import shapes_of
from assl_jax.training.step import forward

PASSES = 3  # forward, gradient of the inputs, gradient of the weights


@functools.lru_cache(maxsize=256)
def step_flops(backbone: nn.Module, objective: Objective, *examples: jax.ShapeDtypeStruct) -> float:
    """Floating-point operations of all convolutions and matrix products in a training step.

    Backbone and head count with `PASSES`, and `Member.passes` with one pass over the backbone each.
    The operations are those of the plain forms, so the number is the same on every machine.
    Augmentation, normalisation and the optimiser are left out. If steps take turns, their mean
    counts. `examples` are those of a batch: stored images, and labels if the objective sees them.
    """
    if len(objective.turns) > 1:
        each = [step_flops(backbone, turn, *examples) for turn in objective.turns]
        return sum(each) / len(each)
    members = objective.members
    parts = jax.eval_shape(lambda *arrays: shares(arrays, len(members)), *examples)
    with plain_forms():
        return sum(
            _member_flops(backbone, member, part if len(examples) > 1 else part[0])
            for member, part in zip(members, parts, strict=True)
        )


def _member_flops(backbone: nn.Module, member: Member, examples: Any) -> float:
    batch, maps, variables = shapes_of(backbone, member, examples)
    head = jax.eval_shape(member.head().init, jax.random.key(0), maps, batch)
    params = {
        "backbone": variables["params"],
        "heads": {member.name: head.get("params", {})},
    }
    trained = flops_of(
        lambda p, s, b: forward(backbone, member, p, s, b),
        *(params, variables.get("batch_stats", {}), batch),
    )
    inputs = jax.eval_shape(flatten_views, batch.inputs)
    alone = flops_of(lambda v, x: backbone.apply(v, x), variables, inputs) if member.passes else 0.0
    return PASSES * trained + member.passes * alone


@functools.lru_cache(maxsize=256)
def pass_flops(backbone: nn.Module, images: jax.ShapeDtypeStruct) -> float:
    """Floating-point operations of the backbone when a step trains it on a batch of whole images.

    Args:
      backbone: the network.
      images: a batch `[b, *space, c]`.
    """
    x = jax.ShapeDtypeStruct(images.shape, np.float32)
    variables = jax.eval_shape(backbone.init, jax.random.key(0), x)
    with plain_forms():
        return PASSES * flops_of(lambda v, x: backbone.apply(v, x), variables, x)


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
