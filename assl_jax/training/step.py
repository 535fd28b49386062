"""The compiled training step."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from assl_jax.models.base import in_training
from assl_jax.models.cpu import compiler_options
from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.tasks import Batch, Metrics, ProxyTask
from assl_jax.training.feed import Examples
from assl_jax.training.joint import Joint, parts_of
from assl_jax.training.optimiser import Optimiser, global_norm
from assl_jax.training.penalty import Penalty
from assl_jax.training.state import SHARED, TrainState, name_key

Step = Callable[..., tuple[TrainState, Metrics]]


def forward(
    backbone: nn.Module,
    head: nn.Module,
    params: dict,
    batch_stats: Any,
    batch: Batch,
    name: str,
    key: jax.Array | None = None,
) -> tuple[Any, Any, Any]:
    """The backbone in training mode, then the head of the task `name`.

    `key` is that of the backbone's dropout, see `in_training`.

    Returns the backbone's mapping for `[b * v]` views, the head's outputs, and the new running
    statistics.
    """
    variables = {"params": params["backbone"], "batch_stats": batch_stats}
    maps, batch_stats = in_training(backbone, variables, flatten_views(batch.inputs), key)
    features = jax.tree.map(lambda f: unflatten_views(f, batch.inputs.shape[0]), maps)
    outputs = head.apply({"params": params["heads"][name]}, features, batch)
    return maps, outputs, batch_stats


def make_step(
    backbone: nn.Module,
    task: ProxyTask | Joint,
    optimiser: Optimiser,
    penalty: Penalty | None = None,
    accumulate: int = 1,
    platform: str | None = None,
) -> Step:
    """The jitted step of a task or of a `Joint`; equal arguments give the same, compiled function.

    The step is `step(state, examples, rng, rate, frozen) -> (state, metrics)`. The metrics of a
    `Joint` are grouped by the names of its tasks.

      state: a `TrainState` with only the heads of this step (`TrainState.only`); donated.
      examples: a batch of `Feed.batches`; `task.make_batch` receives its arrays.
      rng: the key of the run; the number of the step is folded in.
      rate: the learning rate.
      frozen: variables of the frozen network that `penalty` compares with, or the teachers of a
        `Distillation`; they run in evaluation mode. None for plain training.

    The tasks of a `Joint` run one after the other. Each updates BatchNorm's running statistics and
    its queue. The optimiser then takes one step along their weighted mean gradient.

    With `accumulate` above 1 the batch is split into that many equal micro-batches. They are
    computed one after the other, and the optimiser gets the mean of their gradients.
    `task.make_batch` still makes the whole batch, with the same random numbers. So this saves
    memory for activations, but not for inputs. Micro-batch k has the examples k, k + accumulate,
    ...; so every device holds its share of each micro-batch. All leaves of a `Batch` must have the
    batch as their leading axis.

    The result equals that of the whole batch under two conditions. The loss is a mean over
    independent examples (classification, reconstruction). The backbone has no BatchNorm, or its
    statistics are the same in every micro-batch. Otherwise it differs. BatchNorm normalises each
    micro-batch separately and updates its running statistics after each. Contrastive tasks (simclr,
    mcpc, cpc) take their negatives from the micro-batch, vicreg its variances. `task.teach` sees
    the whole batch. The penalty compares the micro-batch with the queue, which the micro-batches
    fill one after the other. Metrics are means over micro-batches.

    `platform` is the platform of the devices, such as "gpu"; None means JAX's default backend.
    """
    # Drop a penalty with weight 0: the compiled program is then the same as without a penalty.
    return _cached(
        backbone,
        task,
        optimiser.compiled,  # the rate is an argument
        penalty if penalty and penalty.weight else None,
        accumulate,
        platform or jax.default_backend(),
    )


@functools.lru_cache(maxsize=64)
def _cached(
    backbone: nn.Module,
    task: ProxyTask | Joint,
    optimiser: Optimiser,
    penalty: Penalty | None,
    accumulate: int,
    platform: str,
) -> Step:
    transform = optimiser.transform()

    def gradient_of(task: ProxyTask) -> Callable:
        head = task.head()

        def loss_of(
            params: dict, state: TrainState, batch: Batch, frozen: Any, key: jax.Array
        ) -> tuple:
            maps, outputs, batch_stats = forward(
                backbone, head, params, state.batch_stats, batch, task.name, key
            )
            loss, metrics = task.loss(outputs, batch)
            queue = state.queue
            if penalty:
                reference: Any = backbone.apply(frozen, flatten_views(batch.inputs), train=False)
                own, other = penalty.features(maps), penalty.features(reference)
                added, similarity, kept = penalty(own, other, queue.get(task.name))
                queue = queue | {task.name: kept} if kept else queue
                metrics |= {"proxy_loss": loss, "penalty": added, "similarity": similarity}
                loss = loss + added
            return loss, (metrics, batch_stats, queue)

        gradient = jax.value_and_grad(loss_of, has_aux=True)
        return functools.partial(_accumulated, gradient, accumulate) if accumulate > 1 else gradient

    pool = task if isinstance(task, Joint) else Joint(parts_of(task))
    gradients = [gradient_of(part) for part in pool.tasks]

    def step(
        state: TrainState,
        examples: Examples,
        rng: jax.Array,
        rate: jax.Array,
        frozen: Any = None,
    ) -> tuple[TrainState, Metrics | dict[str, Metrics]]:
        rng, images = jax.random.fold_in(rng, state.step), examples.take()
        grads: dict[str, dict] = {}
        metrics: dict[str, Metrics] = {}
        current = state
        for k, (part, gradient) in enumerate(zip(pool.tasks, gradients, strict=True)):
            batch = part.make_batch(rng, pool.share(images, k))
            average = state.average.get(part.name)
            batch = part.teach(batch, backbone, average=average, frozen=frozen)
            params = current.only([part.name]).params
            key = name_key(rng, f"dropout {part.name}")
            value, grads[part.name] = gradient(params, current, batch, frozen, key)
            loss, (measured, batch_stats, queue) = value
            current = current._replace(batch_stats=batch_stats, queue=queue)
            norm = global_norm(grads[part.name])
            metrics[part.name] = {"loss": loss, "gradient_norm": norm, **measured}
        total = pool.combine(grads)
        # The norm of a single task's gradient is known already.
        total = optimiser.clip(total, norm if len(grads) == 1 else global_norm(total))

        def descend(grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
            updates, opt_state = transform.update(grads, opt_state, params)
            updates = jax.tree.map(lambda u: -rate * u, updates)
            return optax.apply_updates(params, updates), opt_state

        params, opt_state = _per_group(descend, total, state.opt_state, state.params)
        after = TrainState(
            state.step + 1, params, current.batch_stats, opt_state, current.queue, state.average
        )
        shown = metrics if isinstance(task, Joint) else metrics[task.name]
        return after.with_averages({part.name: part.momentum for part in pool.tasks}), shown

    return jax.jit(step, donate_argnums=0, compiler_options=compiler_options(platform))


def _accumulated(
    gradient: Callable,
    count: int,
    params: dict,
    state: TrainState,
    batch: Batch,
    frozen: Any,
    key: jax.Array,
) -> tuple[tuple, dict]:
    """The result of `gradient`, computed in `count` micro-batches.

    Loss, metrics and gradients are means over the micro-batches. Each micro-batch continues with
    the running statistics and the queue of the one before, and has a key of its own.
    """
    # Each micro-batch takes every count-th example, so the batch axis stays split over the devices.
    split = jax.tree.map(lambda a: a.reshape(-1, count, *a.shape[1:]), batch)

    def add(carry: tuple, k: jax.Array) -> tuple[tuple, tuple]:
        total, batch_stats, queue = carry
        micro_batch = jax.tree.map(
            lambda a: jax.lax.dynamic_index_in_dim(a, k, 1, keepdims=False), split
        )
        current = state._replace(batch_stats=batch_stats, queue=queue)
        (loss, (metrics, *after)), grads = gradient(
            params, current, micro_batch, frozen, jax.random.fold_in(key, k)
        )
        return (jax.tree.map(jnp.add, total, grads), *after), (loss, metrics)

    start = (jax.tree.map(jnp.zeros_like, params), state.batch_stats, state.queue)
    (total, *after), logged = jax.lax.scan(add, start, jnp.arange(count))
    loss, metrics = jax.tree.map(lambda values: values.mean(), logged)
    return (loss, (metrics, *after)), jax.tree.map(lambda g: g / count, total)


def _per_group(update: Callable, grads: dict, opt_state: dict, params: dict) -> tuple[dict, dict]:
    """Apply `update` separately to the backbone and to each head; new parameters and states."""
    backbone, moments = update(grads["backbone"], opt_state["backbone"][SHARED], params["backbone"])
    new_params: dict = {"backbone": backbone, "heads": {}}
    new_state: dict = {"backbone": {SHARED: moments}, "heads": {}}
    for name, head in params["heads"].items():
        of_head = update(grads["heads"][name], opt_state["heads"][name], head)
        new_params["heads"][name], new_state["heads"][name] = of_head
    return new_params, new_state
