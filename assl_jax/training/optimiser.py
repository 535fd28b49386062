"""Optimiser and learning-rate schedule from plain settings."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import optax

from assl_jax.errors import require
from assl_jax.models.cpu import materialise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Adam with decoupled weight decay, a learning-rate schedule and gradient clipping.

    The learning rate is computed on the host and handed to the compiled step, so that neither it
    nor the number of steps is compiled in.

    Attributes:
      learning_rate: the peak; the paper uses 1e-3 for proxy and 1e-4 for target tasks on STL-10.
      schedule: "constant" or "cosine" (zero one step after the last).
      warmup: share of the steps over which the rate rises linearly from 0.
      weight_decay: decoupled (AdamW), on kernels only.
      clip_norm: largest global norm of the gradient; 0 switches clipping off.
    """

    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.schedule in ("constant", "cosine"),
            f"schedule={self.schedule!r} is unknown; use 'constant' or 'cosine'",
        )
        require(self.learning_rate > 0, f"learning_rate={self.learning_rate} must be above 0")
        require(0 <= self.warmup < 1, f"warmup={self.warmup} is a share of the steps, in [0, 1)")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (from 0) of `steps`."""
        warm = self.warmup * steps
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step - warm) / max(1.0, steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def transform(self) -> optax.GradientTransformation:
        """Gradient to update direction, to be scaled by minus the learning rate."""
        decay = optax.add_decayed_weights(self.weight_decay, mask=_kernels)
        return optax.chain(optax.scale_by_adam(), decay if self.weight_decay else optax.identity())

    def clip(self, gradients, norm):
        """Scale the whole gradient tree, of this `global_norm`, down to `clip_norm`."""
        if not self.clip_norm:
            return gradients
        factor = jnp.where(norm > self.clip_norm, self.clip_norm / norm, 1.0)
        return jax.tree.map(lambda g: factor * g, gradients)


def global_norm(gradients) -> jax.Array:
    """Square root of the sum of all squares.

    A kernel's over its window first: on a CPU a sum of matrices is several times as fast as one of
    numbers, and XLA would join the two.
    """

    def squares(g: jax.Array) -> jax.Array:
        over_window = jnp.square(g).sum(tuple(range(g.ndim - 2)))
        return materialise(over_window).sum()

    return jnp.sqrt(sum(map(squares, jax.tree.leaves(gradients)), jnp.zeros(())))


def _kernels(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)
