"""Linear centred kernel alignment (CKA): one Gram matrix of sums serves every form of it.

The rows of all tasks' features are stacked to X `[n, D]`, shifted and scaled to be well
conditioned, and extended by each task's squared row norms r `[n, k]` and a column of ones. The
Gram matrix of [X, r, 1] holds every sum that either estimator needs, so a streaming update is a
matrix product (of which symmetry spares nearly half) and an addition, and the one-shot forms are a
stream of one batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

ESTIMATORS = {"biased": 2, "unbiased": 4}  # name -> fewest samples

# Inside every root. HSIC is in units of squared total variances, where a task's own lies in
# [1 / rank, 1] and float32 rounding near 1e-7: this hides the second and leaves the first alone.
_EPS = 1e-10

_CHUNK_ROWS = 8192


class LCKAState(NamedTuple):
    """What a stream of features is reduced to; a pytree whose size does not depend on n.

    Attributes:
      shift: one `[d_i]` per task, the first batch's mean. CKA does not depend on it, but sums of
        shifted features do not cancel.
      scale: the first batch's largest magnitude per task; keeps fourth powers inside float32.
      gram: Gram matrix of [X, r, 1], D features, k squared row norms and a one per sample; what
        counts of it is the part on and above the diagonal.
    """

    shift: tuple[Float[Array, " _"], ...]
    scale: Float[Array, " k"]
    gram: Float[Array, "p p"]


def lcka_init(dims: Sequence[int], *, dtype: DTypeLike = jnp.float32) -> LCKAState:
    """An empty stream for `len(dims)` tasks with `dims[i]` features each.

    Args:
      dims: feature dimensions d_i.
      dtype: of all sums; float64 needs JAX's x64 mode.

    Returns:
      A state that has seen no samples.

    Raises:
      ValueError: no task, or a dimension below 1.
    """
    if not dims or min(dims) < 1:
        raise ValueError(f"lcka_init needs at least one dimension, all of them >= 1, not {dims}")
    size = sum(dims) + len(dims) + 1
    return LCKAState(
        shift=tuple(jnp.zeros(d, dtype) for d in dims),
        scale=jnp.ones(len(dims), dtype),
        gram=jnp.zeros((size, size), dtype),
    )


def lcka_update(
    state: LCKAState, features: Sequence[Shaped[Array | np.ndarray, "n _"]]
) -> LCKAState:
    """Add a batch of samples to a stream; pure, may be jitted.

    Args:
      state: from `lcka_init` or an earlier update.
      features: one `[n, d_i]` per task, the same n >= 1 samples in the same order; any real dtype.

    Returns:
      The state with n more samples.

    Raises:
      ValueError: shapes that differ from the state's dimensions, or n that differ.
    """
    _check_samples(features)
    if [x.shape[1] for x in features] != [d.size for d in state.shift]:
        raise ValueError(
            f"lcka_update: feature dimensions {[x.shape[1] for x in features]} differ from "
            f"those of the stream, {[d.size for d in state.shift]}"
        )
    empty = state.gram[-1, -1] == 0
    shifts, scales, columns, norms = [], [], [], []
    for i, x in enumerate(features):
        x = jnp.asarray(x).astype(state.gram.dtype)
        # By way of the first row, constant features get a mean without rounding error.
        mean = x[0] + jnp.mean(x - x[:1], axis=0)
        shifts.append(jax.lax.stop_gradient(jnp.where(empty, mean, state.shift[i])))
        x = x - shifts[i][None]
        peak = jnp.max(jnp.abs(x))
        peak = jnp.where(empty, jnp.where(peak > 0, peak, 1.0), state.scale[i])
        scales.append(jax.lax.stop_gradient(peak))
        x = x / scales[i]
        columns.append(x)
        norms.append(jnp.sum(x**2, axis=1, keepdims=True))
    last = jnp.concatenate([columns[-1], *norms, jnp.ones_like(norms[0])], axis=1)
    gram = state.gram + _upper_gram([*columns[:-1], last])
    return LCKAState(tuple(shifts), jnp.stack(scales), gram)


def _upper_gram(parts: Sequence[Float[Array, "n _"]]) -> Float[Array, "p p"]:
    """Gram matrix of the columns of all parts, which are not copied together; 0 below its blocks.

    On a CPU this takes about two thirds of the time of one product of all columns.
    """

    def block(i: int, j: int) -> Array:
        if i > j:
            return jnp.zeros((parts[i].shape[1], parts[j].shape[1]), parts[i].dtype)
        return jnp.matmul(parts[i].T, parts[j], precision=jax.lax.Precision.HIGHEST)

    return jnp.block([[block(i, j) for j in range(len(parts))] for i in range(len(parts))])


def lcka_result(state: LCKAState, *, estimator: str = "biased") -> Float[Array, "k k"]:
    """Linear CKA of every pair of tasks from a stream's sums.

    Kornblith et al. 2019 (biased HSIC, from ||Y^T X||_F^2) and Song et al. 2012 (HSIC_1, unbiased).

    Args:
      state: at least 2 samples for the biased and 4 for the unbiased estimator.
      estimator: "biased" or "unbiased".

    Returns:
      `[k, k]`, symmetric, diagonal 1; biased in [0, 1], unbiased in [-1, 1], both up to rounding.
      A task with constant features has similarity 0 to every other.

    Raises:
      ValueError: unknown estimator; too few samples (where n is known; under jit they give NaN or
        a meaningless value).
    """
    _check_estimator(estimator)
    k, total = len(state.shift), sum(d.size for d in state.shift)
    if not isinstance(state.gram, jax.core.Tracer):
        _check_count(int(state.gram[-1, -1]), estimator)
    upper = jnp.triu(state.gram)
    whole = upper + jnp.triu(upper, 1).T
    n, mean = whole[-1, -1], whole[-1, :total] / whole[-1, -1]
    gram = whole[:total, :total] - n * mean[:, None] * mean[None]
    tasks = np.repeat(np.eye(k), [d.size for d in state.shift], axis=0)
    block = jnp.asarray(tasks, gram.dtype)  # [D, k]: the task of each column
    with jax.default_matmul_precision("highest"):
        offset = mean**2 @ block
        norms = whole[-1, total:-1] - n * offset  # sums of squared distances to the mean
        hsic = block.T @ gram**2 @ block
        if estimator == "unbiased":
            # HSIC_1 of centred features, where K1 = 0: with the diagonals of the Gram matrices K
            # and L removed, tr(KL) = hsic - r, 1'K1 1'L1 = norms norms' and 1'KL1 = r, with r the
            # sums of products of squared distances |x - m|^2 = |x|^2 - 2 m'x + |m|^2.
            tilt = -2.0 * mean[:, None] * block
            cross = whole[total:-1, :total] @ tilt + norms[:, None] * offset[None]
            r = whole[total:-1, total:-1] + cross + cross.T
            r = r + tilt.T @ (gram @ tilt) + 3.0 * n * offset[:, None] * offset[None]
            hsic = hsic - r * n / (n - 2) + norms[:, None] * norms[None] / ((n - 1) * (n - 2))
    norms = jnp.where(norms > 0, norms, 1.0)
    hsic = hsic / norms[:, None] / norms[None]
    root = jnp.sqrt(jnp.maximum(jnp.diagonal(hsic), 0.0) + _EPS)
    cka = hsic / root[:, None] / root[None]
    upper = jnp.triu(cka, 1)
    return upper + upper.T + jnp.eye(k, dtype=cka.dtype)


_jit_update = jax.jit(lcka_update)
_jit_result = jax.jit(lcka_result, static_argnames="estimator")


def lcka_matrix(
    features: Sequence[Shaped[Array | np.ndarray, "n _"]], *, estimator: str = "biased"
) -> Float[Array, "k k"]:
    """Linear CKA of every pair of k sets of features of the same samples; differentiable.

    Kornblith et al. 2019, the measure behind the similarities of Tables 1 to 3. The paper's
    Eqs. 4 and 5 as printed are `eq4_similarity`. The biased estimate for independent features is
    near d / (n + d), not 0: use n >> d, or the unbiased estimator. Work and memory are below those
    of one product of the stacked features with themselves, `[D, D]` with D = sum d_i; NumPy arrays
    of many rows move to the device in pieces.

    Args:
      features: k arrays `[n, d_i]` of any real dtype; computed in float32 (float64 stays in x64
        mode).
      estimator: "biased" (n >= 2) or "unbiased" (n >= 4; Song et al. 2012).

    Returns:
      `[k, k]` as `lcka_result`.

    Raises:
      ValueError: arrays that are not `[n, d_i]` with one n, unknown estimator, n too small.
    """
    _check_estimator(estimator)
    n = _check_samples(features)
    _check_count(n, estimator)
    traced = any(isinstance(x, jax.core.Tracer) for x in features)
    rows = n if traced else _CHUNK_ROWS
    dtype = jnp.result_type(jnp.float32, *features)
    state = lcka_init([x.shape[1] for x in features], dtype=dtype)
    for start in range(0, n, rows):
        state = _jit_update(state, [x[start : start + rows] for x in features])
        if not traced:
            jax.block_until_ready(state)  # so that only one piece at a time is on the device
    return _jit_result(state, estimator=estimator)


def linear_cka(
    x: Shaped[Array | np.ndarray, "n d1"],
    y: Shaped[Array | np.ndarray, "n d2"],
    *,
    estimator: str = "biased",
) -> Float[Array, ""]:
    """Linear CKA of two sets of features of the same samples; differentiable.

    Kornblith et al. 2019; the off-diagonal entry of `lcka_matrix([x, y])`, which see. Both the
    measure that selects proxy tasks and the penalty of Self-ASSL (Sec. 3.3, Eq. 6).

    Args:
      x, y: `[n, d1]` and `[n, d2]`, any real dtype.
      estimator: "biased" or "unbiased"; the second for mini-batches, whose n is not >> d.

    Returns:
      A scalar, 1 for features equal up to rotation, scale and offset; biased in [0, 1], unbiased
      in [-1, 1] and 0 on average for independent features. Constant features give 0 and a zero
      gradient.

    Raises:
      ValueError: as `lcka_matrix`.
    """
    return lcka_matrix([x, y], estimator=estimator)[0, 1]


def eq4_similarity(
    x: Shaped[Array | np.ndarray, "n d1"],
    y: Shaped[Array | np.ndarray, "n d2"],
    *,
    normalised: bool = False,
) -> Float[Array, ""]:
    """The similarity of Eqs. 4 and 5 as printed: ||C(x x') * C(y y')||_1, * element-wise.

    C(K) = K (I - 11'/n) centres a Gram matrix over samples on one side. Features are rows here,
    so the paper's f'f is x x'. Unlike CKA it needs the two `[n, n]` Gram matrices, is not
    invariant to scale, and does depend on an offset of the features.

    Args:
      x, y: `[n, d1]` and `[n, d2]`, any real dtype.
      normalised: divide by the geometric mean of the two self-similarities (not in the paper,
        whose tables nevertheless hold values below 1).

    Returns:
      A scalar >= 0; in [0, 1] when normalised.

    Raises:
      ValueError: arrays that are not `[n, d_i]` with one n.
    """
    _check_samples([x, y])
    a, b = (_one_sided(f, unit_norm=normalised) for f in (x, y))
    return jnp.sum(jnp.abs(a * b))


def _one_sided(x: Shaped[Array | np.ndarray, "n d"], *, unit_norm: bool) -> Float[Array, "n n"]:
    x = jnp.asarray(x)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if unit_norm:
        peak = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
        x = x / jnp.where(peak > 0, peak, 1.0)
    gram = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    gram = gram - gram.mean(axis=1, keepdims=True)
    return gram / jnp.sqrt(jnp.sum(gram**2) + _EPS) if unit_norm else gram


def _check_samples(features: Sequence[Shaped[Array | np.ndarray, "n _"]]) -> int:
    shapes = [tuple(x.shape) for x in features]
    if not shapes or any(len(s) != 2 or 0 in s for s in shapes) or len({s[0] for s in shapes}) > 1:
        raise ValueError(
            f"features must be non-empty [n, d] arrays with the same n samples; got shapes {shapes}"
        )
    return shapes[0][0]


def _check_estimator(estimator: str) -> None:
    if estimator not in ESTIMATORS:
        raise ValueError(f'estimator must be "biased" or "unbiased", not {estimator!r}')


def _check_count(n: int, estimator: str) -> None:
    if n < ESTIMATORS[estimator]:
        raise ValueError(
            f"the {estimator} estimator of linear CKA needs n >= {ESTIMATORS[estimator]} samples, "
            f"got n = {n}"
        )
