"""The penalty of Self-ASSL: similarity to a frozen network, inside the training step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.errors import lookup, require
from assl_jax.lcka import ESTIMATORS, linear_cka

SIGNS = {"complementary": 1.0, "as_printed": -1.0}
_EPS = 1e-6  # added to variances of features, which are of order 1


def _scaled(x: Float[Array, "n d"], ridge: float) -> Float[Array, "n d"]:
    """Every feature with mean 0 and variance 1; a constant one becomes 0."""
    x = x - x.mean(0, keepdims=True)
    return x / jnp.sqrt((x**2).mean(0, keepdims=True) + _EPS)


def _whitened(x: Float[Array, "n d"], ridge: float) -> Float[Array, "n d"]:
    """Every direction with variance v / (v + r), r being `ridge` times the mean variance.

    By Cholesky factors: similarities do not change with a rotation, and gradients stay defined
    where eigenvalues meet.
    """
    x = x - x.mean(0, keepdims=True)
    d = x.shape[1]
    with jax.default_matmul_precision("highest"):
        covariance = x.T @ x / len(x)
        extra = ridge * jnp.trace(covariance) / d + _EPS
        factor = jnp.linalg.cholesky(covariance + extra * jnp.eye(d, dtype=x.dtype))
        return jax.scipy.linalg.solve_triangular(factor, x.T, lower=True).T


STANDARDISE: dict[str, Callable[[Array, float], Array]] = {
    "none": lambda x, ridge: x,
    "features": _scaled,
    "whiten": _whitened,
}


class Queue(NamedTuple):
    """Features of the latest inputs, newest first.

    Attributes:
      own: `[q, d]` of the network in training, as they were then.
      frozen: `[q, d]` of the frozen one.
      filled: how many rows are there.
    """

    own: Float[Array, "q d"]
    frozen: Float[Array, "q d"]
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
      standardise: what is done to both sets of features first, so that a few strong directions do
        not decide the similarity (moving these is a shortcut): "none"; "features" gives every
        feature the same variance; "whiten" every direction, up to `ridge`.
      ridge: share of the mean variance below which a direction counts little, "whiten" only.
      queue: features of past inputs that are compared too, as a multiple of the number of features
        d: with less than a few d rows neither the similarity nor the whitening means much. The
        penalty begins once they are there.

    Raises:
      InputError: a setting out of range.
    """

    weight: float = 0.0
    sign: str = "complementary"
    floor: float = 0.0
    layer: str = "pooled"
    estimator: str = "unbiased"
    standardise: str = "whiten"
    ridge: float = 0.1
    queue: float = 4.0

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"self_assl.weight={self.weight} must be at least 0")
        lookup(SIGNS, self.sign, "self_assl.sign")
        lookup(ESTIMATORS, self.estimator, "self_assl.estimator")
        lookup(STANDARDISE, self.standardise, "self_assl.standardise")
        require(self.ridge > 0, f"self_assl.ridge={self.ridge} must be above 0")
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
        maps: Any = jax.eval_shape(lambda v, x: backbone.apply(v, x), variables, inputs)
        d = lookup(maps, self.layer, "self_assl.layer").shape[-1]
        rows = round(self.queue * d)
        if not (rows and self.weight):
            return None
        # Two arrays: a donated buffer may not be given twice.
        own, frozen = jnp.zeros((rows, d)), jnp.zeros((rows, d))
        return Queue(own, frozen, jnp.zeros((), jnp.int32))

    def __call__(
        self, own: Float[Array, "n d"], frozen: Float[Array, "n d"], queue: Queue | None = None
    ) -> tuple[Float[Array, ""], Float[Array, ""], Queue | None]:
        """What is added to the loss, the similarity itself, and the queue with these features.

        Args:
          own: features of the network in training.
          frozen: features of the frozen one; no gradient goes through them.
          queue: from the step before.
        """
        frozen = jax.lax.stop_gradient(frozen)
        ready = jnp.asarray(True)
        x, y = own, frozen
        if queue is not None:
            rows = len(queue.own)
            ready = queue.filled >= rows
            x = jnp.concatenate([own, queue.own])
            y = jnp.concatenate([frozen, queue.frozen])
            queue = Queue(
                jax.lax.stop_gradient(x[:rows]),
                y[:rows],
                jnp.minimum(queue.filled + len(own), rows),
            )
        even = STANDARDISE[self.standardise]
        x, y = even(x, self.ridge), even(y, self.ridge)
        similarity = linear_cka(x, y, estimator=self.estimator)
        term = SIGNS[self.sign] * self.weight * jnp.maximum(similarity, self.floor)
        return jnp.where(ready, term, 0.0), similarity, queue
