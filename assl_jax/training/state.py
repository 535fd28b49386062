"""The state of a training, and its initial values."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.tasks import Average, ProxyTask
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.penalty import Penalty, Queue

SHARED = "shared"  # key of the backbone's optimiser state in a step, and of one for all tasks


class TrainState(NamedTuple):
    """Everything that a step reads and writes.

    The backbone and each head have their own optimiser state. With one optimiser over the whole
    tree, the heads of tasks that are not drawn would move by momentum. The backbone has one state
    that all tasks share, or one for each task: the gradients of two tasks can differ in scale by a
    factor of 100, and shared moments then slow the weaker task down (AdaTask, Yang et al. 2022,
    arXiv 2211.15055).

    Attributes:
      step: number of steps taken.
      params: `{"backbone": ..., "heads": {task: ...}}`.
      batch_stats: the backbone's running statistics, {} without BatchNorm; heads have none.
      opt_state: `{"backbone": {task: ...}, "heads": {task: ...}}`; `{"backbone": {SHARED: ...}}` if
        the tasks share the state of the backbone.
      queue: past features of each task's inputs, if there is a penalty that compares them.
      average: the moving average of the network, for each task with a momentum.
    """

    step: jax.Array
    params: dict[str, Any]
    batch_stats: Any
    opt_state: dict[str, Any]
    queue: dict[str, Queue] = {}
    average: dict[str, Average] = {}

    def only(self, tasks: Sequence[str]) -> "TrainState":
        """The part that a step of `tasks` changes; its shapes do not depend on the pool."""
        moments = self.opt_state["backbone"]
        key = SHARED if SHARED in moments else tasks[0]
        opt_state = {"backbone": {SHARED: moments[key]}, "heads": _only(self.opt_state, tasks)}
        params = {"backbone": self.params["backbone"], "heads": _only(self.params, tasks)}
        queue = {name: self.queue[name] for name in tasks if name in self.queue}
        average = {name: self.average[name] for name in tasks if name in self.average}
        return self._replace(params=params, opt_state=opt_state, queue=queue, average=average)

    def merge(self, part: "TrainState") -> "TrainState":
        """The whole state with the part that a step returned."""
        moments = self.opt_state["backbone"]
        key = SHARED if SHARED in moments else next(iter(part.params["heads"]))
        opt_state = {
            "backbone": moments | {key: part.opt_state["backbone"][SHARED]},
            "heads": self.opt_state["heads"] | part.opt_state["heads"],
        }
        heads = self.params["heads"] | part.params["heads"]
        params = {"backbone": part.params["backbone"], "heads": heads}
        return part._replace(
            params=params,
            opt_state=opt_state,
            queue=self.queue | part.queue,
            average=self.average | part.average,
        )

    def with_averages(self, momenta: Mapping[str, float]) -> "TrainState":
        """The state whose averages have moved towards the present network.

        Args:
          momenta: by the name of the task.
        """
        average = {
            name: jax.tree.map(
                lambda old, new, m=momenta[name]: m * old + (1 - m) * new,
                old,
                Average(self.variables, self.params["heads"][name]),
            )
            for name, old in self.average.items()
        }
        return self._replace(average=average)

    @property
    def variables(self) -> dict[str, Any]:
        """The backbone's variables, for `backbone.apply`."""
        return {"params": self.params["backbone"], "batch_stats": self.batch_stats}


def _only(groups: dict, tasks: Sequence[str]) -> dict:
    return {task: groups["heads"][task] for task in tasks}


def name_key(rng: jax.Array, name: str) -> jax.Array:
    """A key for `name`: `fold_in` of a hash that is the same on every machine."""
    return jax.random.fold_in(rng, zlib.crc32(name.encode()))


def init_state(
    rng: jax.Array,
    backbone: nn.Module,
    tasks: Sequence[ProxyTask],
    optimiser: Optimiser,
    examples: Any,
    variables: dict[str, Any] | None = None,
    penalty: Penalty | None = None,
    moments_per_task: bool = False,
) -> TrainState:
    """A fresh state; the weights of a network depend only on the key and its name.

    Args:
      rng: the key.
      backbone: the network.
      tasks: bring the heads.
      optimiser: gives the optimiser state.
      examples: arrays or shapes of a batch as `make_batch` receives it.
      variables: weights that the backbone starts from; they are copied, because the state will be
        donated. None draws new ones.
      penalty: brings an empty queue.
      moments_per_task: whether each task has its own optimiser state of the backbone.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct((2, *a.shape[1:]), a.dtype), examples)
    shapes = _Shapes(*jax.tree.flatten(shapes))
    if variables is None:
        variables = _init_backbone(backbone, tasks[0], shapes)(name_key(rng, "backbone"))
    params = {
        "backbone": jax.tree.map(jnp.copy, variables["params"]),
        "heads": {
            t.name: _init_head(backbone, t, shapes)(name_key(rng, f"head {t.name}")) for t in tasks
        },
    }
    init = _init_optimiser(optimiser.compiled)
    opt_state = {
        "backbone": {
            key: init(params["backbone"])
            for key in (params["heads"] if moments_per_task else [SHARED])
        },
        "heads": {name: init(head) for name, head in params["heads"].items()},
    }
    batch_stats = jax.tree.map(jnp.copy, variables.get("batch_stats", {}))
    queue = {}
    for task in tasks if penalty else ():
        inputs = jax.eval_shape(flatten_views, _batch_shapes(task, shapes).inputs)
        if empty := penalty and penalty.init_queue(backbone, variables, inputs):
            queue[task.name] = empty
    state = TrainState(jnp.zeros((), jnp.int32), params, batch_stats, opt_state, queue)
    average = {
        t.name: jax.tree.map(jnp.copy, Average(state.variables, params["heads"][t.name]))
        for t in tasks
        if t.momentum
    }
    return state._replace(average=average)


def _quick_jit(function: Callable) -> Callable:
    """`jax.jit` for a function that runs once: it compiles fast and runs slowly on a CPU."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


class _Shapes:
    """A tree of shapes that can be hashed, because the jitted initialisers below are cached."""

    def __init__(self, leaves: list, tree: Any) -> None:
        self.leaves, self.tree = tuple((s.shape, s.dtype) for s in leaves), tree

    def __hash__(self) -> int:
        return hash((self.leaves, self.tree))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shapes) and vars(self) == vars(other)

    def unpack(self) -> Any:
        return jax.tree.unflatten(self.tree, [jax.ShapeDtypeStruct(*s) for s in self.leaves])


def _batch_shapes(task: ProxyTask, shapes: _Shapes) -> Any:
    return jax.eval_shape(task.make_batch, jax.random.key(0), shapes.unpack())


@functools.lru_cache(maxsize=64)
def _init_optimiser(optimiser: Optimiser) -> Callable:
    return _quick_jit(optimiser.transform().init)


@functools.lru_cache(maxsize=64)
def _init_backbone(backbone: nn.Module, task: ProxyTask, shapes: _Shapes) -> Callable:
    inputs = jax.eval_shape(flatten_views, _batch_shapes(task, shapes).inputs)
    return _quick_jit(lambda key: backbone.lazy_init(key, inputs))


@functools.lru_cache(maxsize=64)
def _init_head(backbone: nn.Module, task: ProxyTask, shapes: _Shapes) -> Callable:
    batch = _batch_shapes(task, shapes)
    features = jax.eval_shape(
        lambda x: jax.tree.map(
            lambda f: unflatten_views(f, x.shape[0]),
            backbone.init_with_output(jax.random.key(0), flatten_views(x))[0],
        ),
        batch.inputs,
    )
    return _quick_jit(lambda key: task.head().lazy_init(key, features, batch)["params"])
