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
from assl_jax.objectives.base import Batch, Member, Metrics, Objective
from assl_jax.objectives.gradients import balanced_mean, global_norm
from assl_jax.objectives.joint import shares
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import TrainState, name_key

Step = Callable[..., tuple[TrainState, dict[str, Metrics]]]


def forward(
    backbone: nn.Module,
    member: Member,
    params: dict,
    batch_stats: Any,
    batch: Batch,
    key: jax.Array | None = None,
) -> tuple[Any, Any, Any]:
    """The backbone in training mode, then the head of `member`.

    `key` is that of the backbone's dropout, see `in_training`.

    Returns the backbone's mapping for `[b * v]` views, the head's outputs, and the new running
    statistics.
    """
    variables = {"params": params["backbone"], "batch_stats": batch_stats}
    maps, batch_stats = in_training(backbone, variables, flatten_views(batch.inputs), key)
    features = jax.tree.map(lambda f: unflatten_views(f, batch.inputs.shape[0]), maps)
    outputs = member.head().apply({"params": params["heads"][member.name]}, features, batch)
    return maps, outputs, batch_stats


def make_step(
    backbone: nn.Module,
    objective: Objective,
    optimiser: Optimiser,
    accumulate: int = 1,
    platform: str | None = None,
) -> Step:
    """The jitted step of an objective; equal arguments give the same, compiled function.

    The step is `step(state, examples, rng, rate, frozen) -> (state, metrics)`. The metrics are
    grouped by the names of the members.

      state: `TrainState.only` of this objective; donated.
      examples: a batch of `Feed.batches`; `make_batch` receives its arrays.
      rng: the key of the run; the number of the step is folded in.
      rate: the learning rate.
      frozen: networks in evaluation mode by the name of the composition that needs them, see
        `Member.prepare`.

    The members of a `Joint` run one after the other. Each updates BatchNorm's running statistics
    and its carry. The optimiser then takes one step along the `balanced_mean` of their gradients.

    With `accumulate` above 1 the batch is split into that many equal micro-batches. They are
    computed one after the other, and the optimiser gets the mean of their gradients. The whole
    batch is still made and prepared at once, with the same random numbers. So this saves memory for
    activations, but not for inputs. Micro-batch k has the examples k, k + accumulate, ...; so every
    device holds its share of each micro-batch. All leaves of a `Batch` must have the batch as their
    leading axis.

    The result equals that of the whole batch under two conditions. The loss is a mean over
    independent examples (classification, reconstruction). The backbone has no BatchNorm, or its
    statistics are the same in every micro-batch. Otherwise it differs. BatchNorm normalises each
    micro-batch separately and updates its running statistics after each. Contrastive tasks (simclr,
    mcpc, cpc) take their negatives from the micro-batch, vicreg its variances. The penalty compares
    the micro-batch with the queue, which the micro-batches fill one after the other. Metrics are
    means over micro-batches.

    `platform` is the platform of the devices, such as "gpu"; None means JAX's default backend.
    """
    # The rate is an argument of the step.
    platform = platform or jax.default_backend()
    return _cached(backbone, objective, optimiser.compiled, accumulate, platform)


@functools.lru_cache(maxsize=64)
def _cached(
    backbone: nn.Module,
    objective: Objective,
    optimiser: Optimiser,
    accumulate: int,
    platform: str,
) -> Step:
    members, descend = objective.members, _descent(optimiser)
    gradients = [_gradient(backbone, member, accumulate) for member in members]

    def step(
        state: TrainState, examples: Examples, rng: jax.Array, rate: jax.Array, frozen: Any = None
    ) -> tuple[TrainState, dict[str, Metrics]]:
        rng, parts = jax.random.fold_in(rng, state.step), shares(examples.take(), len(members))
        grads: dict[str, dict] = {}
        metrics: dict[str, Metrics] = {}
        batch_stats, carry = state.batch_stats, dict(state.carry)
        for member, part, gradient in zip(members, parts, gradients, strict=True):
            name = member.name
            batch = member.make_batch(rng, part)
            batch = member.prepare(batch, backbone, carry[name], frozen)
            params = state.params | {"heads": {name: state.params["heads"][name]}}
            key = name_key(rng, f"dropout {name}")
            value, grads[name] = gradient(params, batch_stats, carry[name], batch, key)
            loss, (measured, batch_stats, carry[name]) = value
            norm = global_norm(grads[name])
            metrics[name] = {"loss": loss, "gradient_norm": norm, **measured}
        total = {
            "backbone": balanced_mean([each["backbone"] for each in grads.values()]),
            "heads": {name: each["heads"][name] for name, each in grads.items()},
        }
        # The norm of a single member's gradient is known already.
        total = optimiser.clip(total, norm if len(grads) == 1 else global_norm(total))
        params, opt_state = descend(total, state, rate)
        after = TrainState(state.step + 1, params, batch_stats, opt_state, carry)
        moved = {m.name: m.after_step(carry[m.name], after.weights(m.name)) for m in members}
        return after._replace(carry=moved), metrics

    return jax.jit(step, donate_argnums=0, compiler_options=compiler_options(platform))


def _gradient(backbone: nn.Module, member: Member, accumulate: int) -> Callable:
    """The value and the gradient of a member, of the whole batch or in micro-batches.

    The function takes the parameters, the running statistics, the carry, the batch and a key. It
    returns `(loss, (metrics, running statistics, carry)), gradient`.
    """

    def value(params: dict, batch_stats: Any, carry: Any, batch: Batch, key: jax.Array) -> tuple:
        maps, outputs, batch_stats = forward(backbone, member, params, batch_stats, batch, key)
        loss, carry, metrics = member.value(maps, outputs, batch, carry)
        return loss, (metrics, batch_stats, carry)

    gradient = jax.value_and_grad(value, has_aux=True)
    return functools.partial(_accumulated, gradient, accumulate) if accumulate > 1 else gradient


def _accumulated(
    gradient: Callable,
    count: int,
    params: dict,
    batch_stats: Any,
    carry: Any,
    batch: Batch,
    key: jax.Array,
) -> tuple[tuple, dict]:
    """The result of `gradient`, computed in `count` micro-batches.

    Loss, metrics and gradients are means over the micro-batches. Each micro-batch continues with
    the running statistics and the carry of the one before, and has a key of its own.
    """
    # Each micro-batch takes every count-th example, so the batch axis stays split over the devices.
    split = jax.tree.map(lambda a: a.reshape(-1, count, *a.shape[1:]), batch)

    def add(before: tuple, k: jax.Array) -> tuple[tuple, tuple]:
        total, batch_stats, carry = before
        micro_batch = jax.tree.map(
            lambda a: jax.lax.dynamic_index_in_dim(a, k, 1, keepdims=False), split
        )
        (loss, (metrics, *after)), grads = gradient(
            params, batch_stats, carry, micro_batch, jax.random.fold_in(key, k)
        )
        return (jax.tree.map(jnp.add, total, grads), *after), (loss, metrics)

    start = (jax.tree.map(jnp.zeros_like, params), batch_stats, carry)
    (total, *after), logged = jax.lax.scan(add, start, jnp.arange(count))
    loss, metrics = jax.tree.map(lambda values: values.mean(), logged)
    return (loss, (metrics, *after)), jax.tree.map(lambda g: g / count, total)


def _descent(optimiser: Optimiser) -> Callable:
    """A function of gradients, state and rate that gives the new parameters and optimiser state.

    The backbone and each head are updated separately.
    """
    transform = optimiser.transform()

    def descend(grads: dict, state: TrainState, rate: jax.Array) -> tuple[dict, dict]:
        def update(grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
            updates, opt_state = transform.update(grads, opt_state, params)
            updates = jax.tree.map(lambda u: -rate * u, updates)
            return optax.apply_updates(params, updates), opt_state

        ((turn, moments),) = state.opt_state["backbone"].items()
        backbone, moments = update(grads["backbone"], moments, state.params["backbone"])
        heads, of_heads = {}, {}
        for name, head in state.params["heads"].items():
            old = state.opt_state["heads"][name]
            heads[name], of_heads[name] = update(grads["heads"][name], old, head)
        params = {"backbone": backbone, "heads": heads}
        return params, {"backbone": {turn: moments}, "heads": of_heads}

    return descend
