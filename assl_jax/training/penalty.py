"""The penalty of Self-ASSL: similarity to a frozen network, inside the training step."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.errors import lookup, require
from assl_jax.lcka import ESTIMATORS, linear_cka

SIGNS = {"complementary": 1.0, "as_printed": -1.0}
_EPS = 1e-6  # added to variances of features, which are of order 1


class Queue(NamedTuple):
    """Features of the latest inputs, newest first.

    Attributes:
      own: `[q, d]` of the network in training, as they were then.
      first: `[q, d]` of the frozen one.
      filled: how many rows are there.
    """

    own: Float[Array, "q d"]
    first: Float[Array, "q d"]
    filled: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Penalty:
    """`sign * weight * max(LCKA(f'(x), f_p(x)), floor)`, added to the proxy task's loss.

    Source: paper, section 4, Eq. 6; x are the proxy task's own inputs, all views of the mini-batch.

    Attributes:
      weight: the factor, lambda; 0 is plain training.
      sign: "complementary" pushes the features away from the first network's, as text and Figure 4
        of the paper say; "as_printed" pulls them closer, as Eq. 6 does.
      floor: similarities below this are not pushed lower; what unrelated training gives is enough,
        and below it the penalty is met by shortcuts. Above 0 with "complementary" only.
      layer: "pooled", or a stage of the backbone, averaged over space.
      estimator: "biased" or "unbiased", see `linear_cka`; the biased one of a mini-batch mostly
        sees its own floor, near d / (n + d).
      standardise: give every feature the same variance first; otherwise a few strong ones decide
        the similarity, and moving these is a shortcut.
      queue: how many features of past inputs are compared too, so that n is not below d; the
        penalty begins once they are there.

    Raises:
      InputError: a setting out of range.
    """

    weight: float = 0.0
    sign: str = "complementary"
    floor: float = 0.0
    layer: str = "pooled"
    estimator: str = "unbiased"
    standardise: bool = True
    queue: int = 0

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"self_assl.weight={self.weight} must be at least 0")
        lookup(SIGNS, self.sign, "self_assl.sign")
        lookup(ESTIMATORS, self.estimator, "self_assl.estimator")
        require(0 <= self.floor < 1, f"self_assl.floor={self.floor} must be in [0, 1)")
        require(
            self.floor == 0 or self.sign == "complementary",
            f"self_assl.floor={self.floor} needs self_assl.sign=complementary",
        )
        require(self.queue >= 0, f"self_assl.queue={self.queue} must be at least 0")

    def features(self, maps: Mapping[str, Array]) -> Float[Array, "n d"]:
        """Those features of a backbone's mapping that are compared."""
        chosen = lookup(maps, self.layer, "self_assl.layer").astype(jnp.float32)
        return chosen.mean(tuple(range(1, chosen.ndim - 1)))

    def init_queue(self, backbone: nn.Module, variables: Any, inputs: Any) -> Queue | None:
        """An empty queue for a backbone's features of `inputs` (arrays or shapes); None for 0."""
        if not self.queue:
            return None
        maps: Any = jax.eval_shape(lambda v, x: backbone.apply(v, x), variables, inputs)
        d = lookup(maps, self.layer, "self_assl.layer").shape[-1]
        # Two arrays: a donated buffer may not be given twice.
        own, first = jnp.zeros((self.queue, d)), jnp.zeros((self.queue, d))
        return Queue(own, first, jnp.zeros((), jnp.int32))

    def __call__(
        self, own: Float[Array, "n d"], first: Float[Array, "n d"], queue: Queue | None = None
    ) -> tuple[Float[Array, ""], Float[Array, ""], Queue | None]:
        """What is added to the loss, the similarity itself, and the queue with these features.

        Args:
          own: features of the network in training.
          first: features of the frozen one; no gradient goes through them.
          queue: from the step before.
        """
        first = jax.lax.stop_gradient(first)
        ready = jnp.asarray(True)
        x, y = own, first
        if queue is not None:
            ready = queue.filled >= self.queue
            x = jnp.concatenate([own, queue.own])
            y = jnp.concatenate([first, queue.first])
            queue = Queue(
                jax.lax.stop_gradient(x[: self.queue]),
                y[: self.queue],
                jnp.minimum(queue.filled + len(own), self.queue),
            )
        if self.standardise:
            x, y = _standardised(x), _standardised(y)
        similarity = linear_cka(x, y, estimator=self.estimator)
        term = SIGNS[self.sign] * self.weight * jnp.maximum(similarity, self.floor)
        return jnp.where(ready, term, 0.0), similarity, queue


def _standardised(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Every feature with mean 0 and variance 1; a constant one becomes 0."""
    x = x - x.mean(0, keepdims=True)
    return x / jnp.sqrt((x**2).mean(0, keepdims=True) + _EPS)
