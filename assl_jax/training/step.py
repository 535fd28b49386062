"""The compiled training step."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from assl_jax.models.cpu import compiler_options
from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.tasks import Batch, Metrics, ProxyTask
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser, global_norm
from assl_jax.training.penalty import Penalty
from assl_jax.training.state import TrainState

Step = Callable[..., tuple[TrainState, Metrics]]


def forward(
    backbone: nn.Module, head: nn.Module, params: dict, batch_stats: Any, batch: Batch, name: str
) -> tuple[Any, Any, Any]:
    """Backbone in training mode, then the head.

    Returns the backbone's mapping for `[b * v]` views, the head's outputs, and the new running
    statistics.
    """
    maps, updated = backbone.apply(
        {"params": params["backbone"], "batch_stats": batch_stats},
        flatten_views(batch.inputs),
        train=True,
        mutable=["batch_stats"],
    )
    features = jax.tree.map(lambda f: unflatten_views(f, batch.inputs.shape[0]), maps)
    outputs = head.apply({"params": params["heads"][name]}, features, batch)
    return maps, outputs, updated["batch_stats"]


def make_step(
    backbone: nn.Module,
    task: ProxyTask,
    optimiser: Optimiser,
    penalty: Penalty | None = None,
    accumulate: int = 1,
    platform: str | None = None,
) -> Step:
    """The jitted step of one task; the same arguments give the same, already compiled function.

    The step is `step(state, examples, rng, rate, frozen) -> (state, metrics)`:
      state: a `TrainState` with this task's head alone (`TrainState.only`); donated.
      examples: a batch of `Feed.batches`; what it gives goes to `task.make_batch`.
      rng: the run's key; the step's own number is folded in.
      rate: learning rate.
      frozen: variables of the frozen network that `penalty` compares with, in evaluation mode; None
        without a penalty.

    With `accumulate` above 1 the batch is worked through in that many equal parts, one after the
    other, and the optimiser gets the mean of their gradients. The batch itself is made as a whole,
    with the same random numbers: what is saved is memory for activations, not for inputs. Part k
    has the examples k, k + accumulate, ..., so that every device has its share of each. All leaves
    of a `Batch` must have the batch as their leading axis.

    Where it equals the large batch: a loss that is a mean over examples of which none sees another
    (classification, reconstruction), where the backbone has no BatchNorm or its statistics are the
    same in every part. Otherwise a part is what is seen: BatchNorm normalises by it, its running
    statistics move once per part, contrastive tasks (simclr, mcpc, cpc) take their negatives from
    it, and the penalty compares it with the queue, which the parts fill one after the other.
    Metrics are means over the parts.

    `platform` is that of the devices that will run the step; None: of the process's default device.
    """
    # Without weight nothing is computed either: the step is the plain one, bit for bit.
    return _cached(
        backbone,
        task,
        optimiser,
        penalty if penalty and penalty.weight else None,
        accumulate,
        platform or jax.default_backend(),
    )


@functools.lru_cache(maxsize=64)
def _cached(
    backbone: nn.Module,
    task: ProxyTask,
    optimiser: Optimiser,
    penalty: Penalty | None,
    accumulate: int,
    platform: str,
) -> Step:
    head = task.head()
    transform = optimiser.transform()

    def loss_of(params: dict, state: TrainState, batch: Batch, frozen: Any) -> tuple:
        maps, outputs, batch_stats = forward(
            backbone, head, params, state.batch_stats, batch, task.name
        )
        loss, metrics = task.loss(outputs, batch)
        queue = state.queue
        if penalty:
            reference: Any = backbone.apply(frozen, flatten_views(batch.inputs), train=False)
            own, other = penalty.features(maps), penalty.features(reference)
            added, similarity, queue = penalty(own, other, queue)
            metrics |= {"proxy_loss": loss, "penalty": added, "similarity": similarity}
            loss = loss + added
        return loss, (metrics, batch_stats, queue)

    gradient = jax.value_and_grad(loss_of, has_aux=True)

    def step(
        state: TrainState,
        examples: Examples,
        rng: jax.Array,
        rate: jax.Array,
        frozen: Any = None,
    ) -> tuple[TrainState, Metrics]:
        batch = task.make_batch(jax.random.fold_in(rng, state.step), examples.take())
        whole = gradient if accumulate == 1 else functools.partial(_in_parts, gradient, accumulate)
        (loss, (metrics, batch_stats, queue)), grads = whole(state.params, state, batch, frozen)
        norm = global_norm(grads)
        grads = optimiser.clip(grads, norm)

        def descend(grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
            updates, opt_state = transform.update(grads, opt_state, params)
            updates = jax.tree.map(lambda u: -rate * u, updates)
            return optax.apply_updates(params, updates), opt_state

        params, opt_state = _per_group(descend, grads, state.opt_state, state.params)
        metrics = {"loss": loss, "gradient_norm": norm, **metrics}
        return TrainState(state.step + 1, params, batch_stats, opt_state, queue), metrics

    return jax.jit(step, donate_argnums=0, compiler_options=compiler_options(platform))


def _in_parts(
    gradient: Callable, parts: int, params: dict, state: TrainState, batch: Batch, frozen: Any
) -> tuple[tuple, dict]:
    """What `gradient` gives, of a batch in parts: the mean; statistics and queue go through all."""
    # Every parts-th example: cut like this, the first axis stays split over the devices.
    apart = jax.tree.map(lambda a: a.reshape(-1, parts, *a.shape[1:]), batch)

    def add(carry: tuple, k: jax.Array) -> tuple[tuple, tuple]:
        total, batch_stats, queue = carry
        part = jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, k, 1, keepdims=False), apart)
        now = state._replace(batch_stats=batch_stats, queue=queue)
        (loss, (metrics, *after)), grads = gradient(params, now, part, frozen)
        return (jax.tree.map(jnp.add, total, grads), *after), (loss, metrics)

    start = (jax.tree.map(jnp.zeros_like, params), state.batch_stats, state.queue)
    (total, *after), logged = jax.lax.scan(add, start, jnp.arange(parts))
    loss, metrics = jax.tree.map(lambda values: values.mean(), logged)
    return (loss, (metrics, *after)), jax.tree.map(lambda g: g / parts, total)


def _per_group(update: Callable, grads: dict, opt_state: dict, params: dict) -> tuple[dict, dict]:
    """Apply `update` to the backbone and to each head by itself."""
    (name,) = params["heads"]
    backbone = update(grads["backbone"], opt_state["backbone"], params["backbone"])
    head = update(grads["heads"][name], opt_state["heads"][name], params["heads"][name])
    first, second = (
        {"backbone": b, "heads": {name: h}} for b, h in zip(backbone, head, strict=True)
    )
    return first, second
