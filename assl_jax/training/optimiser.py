"""Optimiser and learning-rate schedule from plain settings."""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from assl_jax.ranges import NonNegative, OneOf, Positive, Range, check

# From a gradient to the direction of an update, by name. An entry gets the weight decay, which does
# nothing without one, and decides where it stands. Clipping comes before, the learning rate after.
OPTIMISERS: dict[str, Callable[[optax.GradientTransformation], optax.GradientTransformation]] = {
    "adam": lambda decay: optax.chain(optax.scale_by_adam(), decay),
}

# The learning rate as a share of its peak, for a share of the steps in [0, 1) after the warm-up.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimiser:
    """An optimiser with decoupled weight decay, a learning-rate schedule and gradient clipping.

    The learning rate is computed on the host and passed to the compiled step. Thus a change of the
    rate or of the number of steps compiles nothing again.

    Attributes:
      algorithm: one of `OPTIMISERS`.
      learning_rate: the peak; the paper uses 1e-3 for proxy and 1e-4 for target tasks on STL-10.
      schedule: one of `SCHEDULES`: "constant", or "cosine", which is zero one step after the last.
      warmup: share of the steps over which the rate rises linearly from 0.
      weight_decay: decoupled (AdamW), on kernels only.
      clip_norm: largest global norm of the gradient; 0 switches clipping off.

    Raises:
      InputError: an unknown name, or a value out of range.
    """

    algorithm: Annotated[str, OneOf(OPTIMISERS)] = "adam"
    learning_rate: Positive = 1e-3
    schedule: Annotated[str, OneOf(SCHEDULES)] = "cosine"
    warmup: Annotated[float, Range(at_least=0, below=1)] = 0.0
    weight_decay: NonNegative = 0.0
    clip_norm: NonNegative = 0.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def compiled(self) -> "Optimiser":
        """The settings that a compiled step depends on, equal for all rates and schedules."""
        return dataclasses.replace(self, learning_rate=1.0, schedule="constant", warmup=0.0)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (from 0) of `steps`."""
        warm = self.warmup * steps
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        progress = (step - warm) / max(1.0, steps - warm)
        return self.learning_rate * SCHEDULES[self.schedule](progress)

    def transform(self) -> optax.GradientTransformation:
        """Gradient to update direction; the caller multiplies it by minus the learning rate."""
        decay = optax.add_decayed_weights(self.weight_decay, mask=_kernels)
        return OPTIMISERS[self.algorithm](decay if self.weight_decay else optax.identity())

    def clip(self, gradients: Any, norm: jax.Array) -> Any:
        """Scale a gradient tree whose global norm is `norm` down to `clip_norm`."""
        if not self.clip_norm:
            return gradients
        factor = jnp.where(norm > self.clip_norm, self.clip_norm / norm, 1.0)
        return jax.tree.map(lambda g: factor * g, gradients)


def _kernels(params: Any) -> Any:
    """Which parameters are kernels."""
    return jax.tree.map(lambda p: p.ndim > 1, params)
