"""The state of a training, and its initial values."""

import functools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.objectives.base import Batch, Carry, Member, Objective, Weights
from assl_jax.training.optimiser import Optimiser


class TrainState(NamedTuple):
    """Everything that a step reads and writes.

    The backbone and each head have their own optimiser state. With one optimiser over the whole
    tree, the heads of members that are not drawn would move by momentum.

    Attributes:
      step: number of steps taken.
      params: `{"backbone": ..., "heads": {member: ...}}`.
      batch_stats: the backbone's running statistics, {} without BatchNorm; heads have none.
      opt_state: `{"backbone": {turn: ...}, "heads": {member: ...}}`, see `Objective.turns`.
      carry: `{member: ...}`, see `Member.init`.
    """

    step: jax.Array
    params: dict[str, Any]
    batch_stats: Any
    opt_state: dict[str, Any]
    carry: dict[str, Carry]

    def only(self, objective: Objective) -> "TrainState":
        """The part that a step of `objective`, a turn, changes.

        Its shapes do not depend on the pool that the turn belongs to.
        """
        names = [member.name for member in objective.members]
        turn = [objective.name]
        return TrainState(
            self.step,
            self.params | {"heads": _some(self.params["heads"], names)},
            self.batch_stats,
            {
                "backbone": _some(self.opt_state["backbone"], turn),
                "heads": _some(self.opt_state["heads"], names),
            },
            _some(self.carry, names),
        )

    def merge(self, part: "TrainState") -> "TrainState":
        """The whole state with the part that a step returned."""
        heads = self.params["heads"] | part.params["heads"]
        return part._replace(
            params=part.params | {"heads": heads},
            opt_state={key: self.opt_state[key] | part.opt_state[key] for key in self.opt_state},
            carry=self.carry | part.carry,
        )

    def going_on(self, objective: Objective, trained: "TrainState") -> "TrainState":
        """This fresh state of `objective` with the network of a finished training.

        A member whose `Member.origin` was not a part of that training begins anew.
        """
        heads, carry = dict(self.params["heads"]), dict(self.carry)
        for member in objective.members:
            name, old = member.name, member.origin.name
            if old in trained.params["heads"]:
                heads[name], carry[name] = member.adopt(
                    heads[name], carry[name], trained.params["heads"][old], trained.carry[old]
                )
        params = {"backbone": trained.params["backbone"], "heads": heads}
        return self._replace(params=params, batch_stats=trained.batch_stats, carry=carry)

    @property
    def variables(self) -> dict[str, Any]:
        """The backbone's variables, for `backbone.apply`."""
        return {"params": self.params["backbone"], "batch_stats": self.batch_stats}

    def weights(self, member: str) -> Weights:
        """Of the backbone and of a member's head."""
        return Weights(self.variables, self.params["heads"][member])


def _some(groups: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: groups[name] for name in names}


def name_key(rng: jax.Array, name: str) -> jax.Array:
    """A key for `name`: `fold_in` of a hash that is the same on every machine."""
    return jax.random.fold_in(rng, zlib.crc32(name.encode()))


def init_state(
    rng: jax.Array,
    backbone: nn.Module,
    objective: Objective,
    optimiser: Optimiser,
    examples: Any,
    variables: dict[str, Any] | None = None,
) -> TrainState:
    """A fresh state; the weights of a network depend only on the key and its name.

    Args:
      rng: the key.
      backbone: the network.
      objective: brings the heads and the carry.
      optimiser: gives the optimiser state.
      examples: arrays or shapes of a batch as `make_batch` receives it.
      variables: weights that the backbone starts from; they are copied, because the state will be
        donated. None draws new ones.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct((2, *a.shape[1:]), a.dtype), examples)
    initial = {
        member.name: _initial(backbone, member, *_hashable(shapes)) for member in objective.members
    }
    if variables is None:
        first = next(iter(initial.values()))
        variables = first.variables(name_key(rng, "backbone"))
    params = {
        "backbone": jax.tree.map(jnp.copy, variables["params"]),
        "heads": {n: each.head(name_key(rng, f"head {n}")) for n, each in initial.items()},
    }
    init = _init_optimiser(optimiser.compiled)
    opt_state = {
        "backbone": {turn.name: init(params["backbone"]) for turn in objective.turns},
        "heads": {name: init(head) for name, head in params["heads"].items()},
    }
    batch_stats = jax.tree.map(jnp.copy, variables.get("batch_stats", {}))
    state = TrainState(jnp.zeros((), jnp.int32), params, batch_stats, opt_state, {})
    carry = {
        member.name: member.init(state.weights(member.name), initial[member.name].maps)
        for member in objective.members
    }
    return state._replace(carry=carry)


def shapes_of(backbone: nn.Module, member: Member, examples: Any) -> tuple[Batch, Any, Any]:
    """Shapes of a member's batch of `examples`, of the backbone's mapping, and of its variables.

    The mapping's arrays have the leading axes `[b, v]`.
    """
    key = jax.random.key(0)
    batch = jax.eval_shape(member.make_batch, key, examples)
    b = batch.inputs.shape[0]

    def run(inputs: jax.Array) -> tuple[Any, Any]:
        maps, variables = backbone.init_with_output(key, flatten_views(inputs))
        return jax.tree.map(lambda f: unflatten_views(f, b), maps), variables

    return batch, *jax.eval_shape(run, batch.inputs)


class _Initial(NamedTuple):
    """How the networks of one member are drawn, and the shapes of the backbone's mapping."""

    variables: Callable
    head: Callable
    maps: Any


@functools.lru_cache(maxsize=64)
def _initial(backbone: nn.Module, member: Member, leaves: tuple, tree: Any) -> _Initial:
    batch, maps, _ = shapes_of(backbone, member, jax.tree.unflatten(tree, leaves))
    inputs = jax.eval_shape(flatten_views, batch.inputs)
    return _Initial(
        _quick_jit(lambda key: backbone.lazy_init(key, inputs)),
        _quick_jit(lambda key: member.head().lazy_init(key, maps, batch)["params"]),
        maps,
    )


@functools.lru_cache(maxsize=64)
def _init_optimiser(optimiser: Optimiser) -> Callable:
    return _quick_jit(optimiser.transform().init)


def _hashable(shapes: Any) -> tuple[tuple, Any]:
    """A tree of shapes as its leaves and its structure, which can be hashed."""
    leaves, tree = jax.tree.flatten(shapes)
    return tuple(leaves), tree


def _quick_jit(function: Callable) -> Callable:
    """`jax.jit` for a function that runs once: it compiles fast and runs slowly on a CPU."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
