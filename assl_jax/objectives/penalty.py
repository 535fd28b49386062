"""The penalty of Self-ASSL: its settings and its value."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.errors import lookup, require
from assl_jax.lcka import ESTIMATORS, linear_cka
from assl_jax.ranges import NonNegative, OneOf, Range, check

SIGNS = {"complementary": 1.0, "as_printed": -1.0}
RIDGE = 0.1  # share of the mean variance below which a direction counts little when whitened
_EPS = 1e-6  # added to variances of features, which are of order 1


def _scaled(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Every feature with mean 0 and variance 1; a constant feature becomes 0."""
    x = x - x.mean(0, keepdims=True)
    return x / jnp.sqrt((x**2).mean(0, keepdims=True) + _EPS)


def _whitened(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """A direction of variance v gets variance v / (v + r); r is `RIDGE` times the mean variance.

    The whitening uses a Cholesky factor. Another root would rotate the features, and a rotation
    does not change their similarity. The gradient of an eigendecomposition is not defined for
    equal eigenvalues; that of a Cholesky factor is.
    """
    x = x - x.mean(0, keepdims=True)
    d = x.shape[1]
    with jax.default_matmul_precision("highest"):
        covariance = x.T @ x / len(x)
        extra = RIDGE * jnp.trace(covariance) / d + _EPS
        factor = jnp.linalg.cholesky(covariance + extra * jnp.eye(d, dtype=x.dtype))
        return jax.scipy.linalg.solve_triangular(factor, x.T, lower=True).T


STANDARDISE: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "features": _scaled,
    "whiten": _whitened,
}


class Queue(NamedTuple):
    """Features of the latest inputs, newest first.

    Attributes:
      own: `[q, d]`, of the network in training at the time.
      frozen: `[q, d]`, of the frozen network.
      filled: number of rows that have been filled.
    """

    own: Float[Array, "q d"]
    frozen: Float[Array, "q d"]
    filled: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Penalty:
    """`sign * weight * max(LCKA(f'(x), f_p(x)), floor)`, added to the proxy task's loss.

    Source: paper, section 4, Eq. 6; x are the inputs of the proxy task, all views of the
    mini-batch. f' is the network in training, f_p the frozen network.

    Attributes:
      weight: the factor, lambda; 0 is plain training.
      sign: "complementary" pushes the features away from those of f_p, as the text and Figure 4 of
        the paper say; "as_printed" pulls them closer, as Eq. 6 does.
      floor: the penalty stops pushing below this similarity. Set it to the similarity of unrelated
        networks: below that, shortcuts meet the penalty. Above 0 only with "complementary".
      layer: "pooled", or a stage of the backbone, averaged over space.
      estimator: "biased" or "unbiased", see `linear_cka`. The biased estimate of a mini-batch lies
        near d / (n + d) even for unrelated features.
      standardise: a transformation of both sets of features before they are compared. It keeps a
        few strong directions from deciding the similarity; to move only these would be a shortcut.
        "none"; "features" gives every feature the same variance; "whiten" gives every direction
        the same variance, up to `RIDGE`.
      queue: number of past inputs whose features are compared too, as a multiple of the number of
        features d. With fewer rows than a few d, neither the similarity nor the whitening means
        much. The penalty begins when the queue is full.

    Raises:
      InputError: a setting out of range.
    """

    weight: NonNegative = 1.0
    sign: Annotated[str, OneOf(SIGNS)] = "complementary"
    floor: Annotated[float, Range(at_least=0, below=1)] = 0.0
    layer: str = "pooled"
    estimator: Annotated[str, OneOf(ESTIMATORS)] = "unbiased"
    standardise: Annotated[str, OneOf(STANDARDISE)] = "whiten"
    queue: Annotated[float, Range(at_least=0, at_most=1000)] = 4.0

    def __post_init__(self) -> None:
        check(self, "self_assl.")
        require(
            self.floor == 0 or self.sign == "complementary",
            f"self_assl.floor={self.floor} needs self_assl.sign=complementary",
        )

    def features(self, maps: Mapping[str, Array]) -> Float[Array, "n d"]:
        """The features that are compared, from a backbone's mapping."""
        chosen = lookup(maps, self.layer, "self_assl.layer").astype(jnp.float32)
        return chosen.mean(tuple(range(1, chosen.ndim - 1)))

    def init_queue(self, d: int) -> Queue | None:
        """An empty queue for `d` features; None if no past features are compared."""
        rows = round(self.queue * d)
        if not rows:
            return None
        # Two arrays, because a buffer must not be donated twice.
        own, frozen = jnp.zeros((rows, d)), jnp.zeros((rows, d))
        return Queue(own, frozen, jnp.zeros((), jnp.int32))

    def __call__(
        self, own: Float[Array, "n d"], frozen: Float[Array, "n d"], queue: Queue | None = None
    ) -> tuple[Float[Array, ""], Float[Array, ""], Queue | None]:
        """The penalty, the similarity, and the queue with these features.

        Args:
          own: features of the network in training.
          frozen: features of the frozen network; they get no gradient.
          queue: of the step before.
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
        standardise = STANDARDISE[self.standardise]
        x, y = standardise(x), standardise(y)
        similarity = linear_cka(x, y, estimator=self.estimator)
        term = SIGNS[self.sign] * self.weight * jnp.maximum(similarity, self.floor)
        return jnp.where(ready, term, 0.0), similarity, queue
