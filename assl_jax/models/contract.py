"""Whether a backbone, perhaps one of another package, is what `base.Backbone` asks for."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict

from assl_jax.errors import require
from assl_jax.models.base import LAST, POOLED

PAGE = "see docs/adding_a_backbone.md"


def check_backbone(
    backbone: nn.Module, inputs: Sequence[jax.ShapeDtypeStruct]
) -> dict[str, jax.ShapeDtypeStruct]:
    """Check a backbone against the contract; nothing is computed.

    Args:
      backbone: the network.
      inputs: batches `[b, *space, c]` of the sizes that it will see.

    Returns:
      Its mapping for the first of `inputs`.
    """
    kind = type(backbone).__name__
    by_space = {x.shape[1:-1]: x for x in reversed(inputs)}
    mappings, variables = {}, {}
    for space, x in by_space.items():
        shape = jax.eval_shape(backbone.init_with_output, jax.random.key(0), x)
        mappings[space], variables[space] = shape
    first = inputs[0].shape[1:-1]
    _check_maps(kind, mappings[first], len(first))
    extra = variables[first].keys() - {"params", "batch_stats"}
    require(
        not extra,
        f"{kind} keeps the variables {', '.join(map(repr, sorted(extra)))}; only 'params' and "
        f"'batch_stats' are trained and stored, {PAGE}",
    )
    own = flatten_dict(variables[first]["params"], sep=".")
    for space, other in variables.items():
        for name, leaf in flatten_dict(other["params"], sep=".").items():
            shape = own[name].shape if name in own else None
            require(
                shape == leaf.shape,
                f"{kind}'s parameter {name} has the shape {leaf.shape} for images of "
                f"{_words(space)} and {shape} for {_words(first)}; it must not depend on the size, "
                f"{PAGE}",
            )
    return mappings[first]


def _check_maps(kind: str, maps: Any, rank: int) -> None:
    """Check the mapping for images with `rank` spatial axes."""
    require(
        isinstance(maps, dict) and {LAST, POOLED} <= maps.keys(),
        f"{kind} must return feature_maps(stages), {PAGE}",
    )
    for name, a in maps.items():
        axes = 2 if name == POOLED else rank + 2
        require(
            len(a.shape) == axes,
            f"{kind}'s map {name!r} has the shape {a.shape} and must have {axes} axes, {PAGE}",
        )


def _words(space: tuple[int, ...]) -> str:
    return " x ".join(map(str, space))
