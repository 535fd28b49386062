"""Linear centred kernel alignment (CKA), computed from one Gram matrix of sums.

The features of all tasks are stacked side by side to X `[n, D]`, shifted and scaled for numerical
stability. Two blocks are added: each task's squared row norms r `[n, k]`, and a column of ones. The
Gram matrix of [X, r, 1] holds all sums that both estimators need. A streaming update is therefore
one matrix product and one addition, and symmetry saves nearly half of the product. The functions
for complete arrays are a stream of one batch.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from assl_jax.errors import lookup

# Added inside every root. The HSIC of a task with itself, divided by the squared total variance,
# lies in [1 / rank, 1]. Adding 1e-10 hardly changes its root. For constant features the root is
# 1e-5 instead of 0. Dividing by 1e-5 keeps float32 rounding errors (near 1e-7) small.
_EPS = 1e-10

_CHUNK_ROWS = 8192


class Moments(NamedTuple):
    """What an estimator of HSIC is computed from: sums over n samples of k tasks' centred features.

    Attributes:
      n: number of samples.
      covariances: `[k, k]`, the sum of the squares of X_i' X_j.
      norms: `[k]`, the sum over samples of the squared distances to the mean.
      products: `[k, k]`, the same sum of the products of two tasks' squared distances.
    """

    n: Float[Array, ""]
    covariances: Float[Array, "k k"]
    norms: Float[Array, " k"]
    products: Float[Array, "k k"]


class Estimator(NamedTuple):
    """An entry of `ESTIMATORS`; it has one of the two functions.

    Attributes:
      least: the smallest number of samples.
      hsic: for linear CKA: from `Moments` to the HSIC of every pair of tasks, `[k, k]`.
      matrix: for any other similarity: from the features of k tasks, float arrays `[n, d_i]`, to
        the similarity of every pair, `[k, k]`. It has no form for streams.
    """

    least: int
    hsic: Callable[[Moments], Array] | None = None
    matrix: Callable[[Sequence[Array]], Array] | None = None


def _biased(m: Moments) -> Array:
    """Kornblith et al. 2019: HSIC from ||Y^T X||_F^2."""
    return m.covariances


def _unbiased(m: Moments) -> Array:
    """HSIC_1 of Song et al. 2012, for Gram matrices K and L of centred features: K1 = L1 = 0.

    Without their diagonals, tr(KL) = covariances - products, 1'K1 1'L1 = norms norms', and
    1'KL1 = products.
    """
    pairs = m.norms[:, None] * m.norms[None] / ((m.n - 1) * (m.n - 2))
    return m.covariances - m.products * m.n / (m.n - 2) + pairs


ESTIMATORS = {"biased": Estimator(2, _biased), "unbiased": Estimator(4, _unbiased)}


class LCKAState(NamedTuple):
    """The sums of a stream of features; a pytree whose size does not depend on n.

    Attributes:
      shift: `[d_i]` for each task, the mean of the first batch. It is subtracted from all features.
        CKA does not depend on it, and the sums lose less precision to cancellation.
      scale: `[k]`, the largest power of two up to the largest magnitude of each task's features so
        far. Features are divided by it, which keeps fourth powers inside the range of float32.
      gram: `[D + k + 1, D + k + 1]`, the Gram matrix of [X, r, 1]: D features, k squared row norms
        and a one for each sample. Only the entries on and above the diagonal are valid.
    """

    shift: tuple[Float[Array, " _"], ...]
    scale: Float[Array, " k"]
    gram: Float[Array, "p p"]


def lcka_init(dims: Sequence[int], *, dtype: DTypeLike = jnp.float32) -> LCKAState:
    """The state of an empty stream.

    Args:
      dims: number of features d_i of each task.
      dtype: of all sums; float64 needs JAX's x64 mode.

    Returns:
      A state without samples.

    Raises:
      ValueError: no task, or a dimension below 1.
    """
    if not dims or min(dims) < 1:
        raise ValueError(f"lcka_init needs at least one dimension, all of them >= 1, not {dims}")
    size = sum(dims) + len(dims) + 1
    return LCKAState(
        shift=tuple(jnp.zeros(d, dtype) for d in dims),
        scale=jnp.full(len(dims), jnp.finfo(dtype).tiny, dtype),
        gram=jnp.zeros((size, size), dtype),
    )


def lcka_update(
    state: LCKAState, features: Sequence[Shaped[Array | np.ndarray, "n _"]]
) -> LCKAState:
    """Add a batch of samples to a stream; pure, can run under jit.

    Args:
      state: from `lcka_init` or an earlier update.
      features: one `[n, d_i]` per task, the same n >= 1 samples in the same order; any real dtype.

    Returns:
      The state with n more samples.

    Raises:
      ValueError: different n, other d_i than in the state, or complex numbers.
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
        x = jnp.asarray(x, state.gram.dtype)
        # Subtract the first row before averaging: the mean of constant features then has no
        # rounding error.
        mean = x[0] + jnp.mean(x - x[:1], axis=0)
        shifts.append(jax.lax.stop_gradient(jnp.where(empty, mean, state.shift[i])))
        x = x - shifts[i][None]
        peak = _power_of_two(jnp.max(jnp.abs(x)))
        scales.append(jax.lax.stop_gradient(jnp.maximum(peak, state.scale[i])))
        x = x / scales[i]
        columns.append(x)
        norms.append(jnp.sum(x**2, axis=1, keepdims=True))
    last = jnp.concatenate([columns[-1], *norms, jnp.ones_like(norms[0])], axis=1)
    scale = jnp.stack(scales)
    smaller = state.scale / scale  # 1 for a task whose features have not grown
    factors = [jnp.full_like(shift, s) for shift, s in zip(shifts, smaller, strict=True)]
    factor = jnp.concatenate([*factors, smaller**2, jnp.ones_like(scale[:1])])
    gram = factor[:, None] * state.gram * factor[None] + _upper_gram([*columns[:-1], last])
    return LCKAState(tuple(shifts), scale, gram)


def _power_of_two(x: Float[Array, ""]) -> Float[Array, ""]:
    """The largest power of two up to `x`: dividing by it rounds nothing. For 0 a tiny one."""
    x = jnp.maximum(x, jnp.finfo(x.dtype).tiny)
    return jnp.ldexp(jnp.ones_like(x), jnp.frexp(x)[1] - 1)


def _upper_gram(columns: Sequence[Float[Array, "n _"]]) -> Float[Array, "p p"]:
    """The Gram matrix of all columns, computed block by block; blocks below the diagonal are 0.

    The columns are not copied into one array. On a CPU this takes about two thirds of the time of
    one product of all columns.
    """

    def block(i: int, j: int) -> Array:
        x, y = columns[i], columns[j]
        if i > j:
            return jnp.zeros((x.shape[1], y.shape[1]), x.dtype)
        return jnp.matmul(x.T, y, precision=jax.lax.Precision.HIGHEST)

    k = len(columns)
    return jnp.block([[block(i, j) for j in range(k)] for i in range(k)])


def lcka_result(state: LCKAState, *, estimator: str = "biased") -> Float[Array, "k k"]:
    """Linear CKA of every pair of tasks from a stream's sums.

    Args:
      state: of a stream with at least 2 samples (biased) or 4 samples (unbiased).
      estimator: a key of `ESTIMATORS`.

    Returns:
      `[k, k]`, symmetric, diagonal 1. Biased values lie in [0, 1] and unbiased values in [-1, 1],
      up to rounding errors. A task with constant features has similarity 0 to all others.

    Raises:
      ValueError: unknown estimator, one without a form for streams, or too few samples. Under jit
        the number of samples is unknown, and too few give NaN or a meaningless value.
    """
    chosen = lookup(ESTIMATORS, estimator, "estimator")
    if chosen.hsic is None:
        raise ValueError(f"estimator={estimator!r} needs all features at once: call lcka_matrix")
    if not isinstance(state.gram, jax.core.Tracer):
        _check_count(int(state.gram[-1, -1]), estimator)
    return _result(state, hsic=chosen.hsic)


@functools.partial(jax.jit, static_argnames="hsic")
def _result(state: LCKAState, *, hsic: Callable[[Moments], Array]) -> Float[Array, "k k"]:
    moments = _moments(state)
    norms = jnp.where(moments.norms > 0, moments.norms, 1.0)
    scaled = hsic(moments) / norms[:, None] / norms[None]
    root = jnp.sqrt(jnp.maximum(jnp.diagonal(scaled), 0.0) + _EPS)
    upper = jnp.triu(scaled / root[:, None] / root[None], 1)
    return upper + upper.T + jnp.eye(len(norms), dtype=upper.dtype)


def _moments(state: LCKAState) -> Moments:
    k, total = len(state.shift), sum(d.size for d in state.shift)
    upper = jnp.triu(state.gram)
    whole = upper + jnp.triu(upper, 1).T
    n, mean = whole[-1, -1], whole[-1, :total] / whole[-1, -1]
    gram = whole[:total, :total] - n * mean[:, None] * mean[None]
    tasks = np.repeat(np.eye(k), [d.size for d in state.shift], axis=0)
    block = jnp.asarray(tasks, gram.dtype)  # [D, k], one-hot: the task of each column
    with jax.default_matmul_precision("highest"):
        offset = mean**2 @ block
        norms = whole[-1, total:-1] - n * offset
        covariances = block.T @ gram**2 @ block
        # Of the squared distances to the mean, |x - m|^2 = |x|^2 - 2 m'x + |m|^2.
        tilt = -2.0 * mean[:, None] * block
        cross = whole[total:-1, :total] @ tilt + norms[:, None] * offset[None]
        products = whole[total:-1, total:-1] + cross + cross.T
        products = products + tilt.T @ (gram @ tilt) + 3.0 * n * offset[:, None] * offset[None]
    return Moments(n, covariances, norms, products)


_jit_update = jax.jit(lcka_update)


def lcka_matrix(
    features: Sequence[Shaped[Array | np.ndarray, "n _"]], *, estimator: str = "biased"
) -> Float[Array, "k k"]:
    """Linear CKA of every pair of k sets of features of the same samples; differentiable.

    Kornblith et al. 2019, used for the similarities of Tables 1 to 3. `eq4_similarity` has Eqs. 4
    and 5 of the paper as printed. The biased estimate for independent features is near
    d / (n + d), not 0: use n >> d or the unbiased estimator. Time and memory are below those of
    one `[D, D]` product of the stacked features with themselves, D = sum d_i. NumPy arrays with
    many rows move to the device in chunks.

    Args:
      features: k arrays `[n, d_i]` of any real dtype; booleans count as 0 and 1. The computation is
        in float32, or in float64 for float64 features in JAX's x64 mode. Offsets may be large, and
        the features' magnitudes lie anywhere between 1e-30 and 1e30.
      estimator: "biased" (n >= 2) or "unbiased" (n >= 4; Song et al. 2012).

    Returns:
      `[k, k]` as `lcka_result`.

    Raises:
      ValueError: arrays other than `[n, d_i]` with the same n, complex numbers, unknown estimator,
        n too small.
    """
    chosen = lookup(ESTIMATORS, estimator, "estimator")
    n = _check_samples(features)
    _check_count(n, estimator)
    traced = any(isinstance(x, jax.core.Tracer) for x in features)
    rows = n if traced else _CHUNK_ROWS
    dtype = jnp.result_type(jnp.float32, *features)
    if chosen.hsic is None:
        assert chosen.matrix
        return chosen.matrix([jnp.asarray(_rows(x, slice(None)), dtype) for x in features])
    state = lcka_init([x.shape[1] for x in features], dtype=dtype)
    for start in range(0, n, rows):
        state = _jit_update(state, [_rows(x, slice(start, start + rows)) for x in features])
        if not traced:
            jax.block_until_ready(state)  # keeps only one chunk at a time on the device
    return _result(state, hsic=chosen.hsic)


def _rows(x: Shaped[Array | np.ndarray, "n d"], rows: slice) -> Shaped[Array | np.ndarray, "_ d"]:
    """Some rows of `x`; wide numbers of NumPy relative to the first of all rows.

    JAX has 32 bits by default. It would round large offsets, and wrap large integers around.
    """
    if not isinstance(x, np.ndarray) or x.dtype.itemsize < 4 or x.dtype == np.float32:
        return x[rows]
    return x[rows].astype(np.float64) - x[:1].astype(np.float64)


def linear_cka(
    x: Shaped[Array | np.ndarray, "n d1"],
    y: Shaped[Array | np.ndarray, "n d2"],
    *,
    estimator: str = "biased",
) -> Float[Array, ""]:
    """Linear CKA of two sets of features of the same samples; differentiable.

    Kornblith et al. 2019; the off-diagonal entry of `lcka_matrix([x, y])`. It is used to select
    proxy tasks (Sec. 3.3) and as the penalty of Self-ASSL (Eq. 6).

    Args:
      x, y: `[n, d1]` and `[n, d2]`, any real dtype.
      estimator: "biased" or "unbiased". Use "unbiased" for mini-batches, which do not have n >> d.

    Returns:
      A scalar, 1 for features that are equal up to rotation, scale and offset. Biased values lie in
      [0, 1]. Unbiased values lie in [-1, 1] and are 0 on average for independent features.
      Constant features give 0 and a zero gradient.

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
    """The similarity of Eqs. 4 and 5 as printed: ||C(x x') * C(y y')||_1, with * element-wise.

    C(K) = K (I - 11'/n) centres a Gram matrix over samples on one side. Features are rows here,
    so the paper's f'f is x x'. This similarity differs from CKA in three ways: it needs the two
    `[n, n]` Gram matrices, it changes with the scale of the features, and it changes with their
    offset.

    Args:
      x, y: `[n, d1]` and `[n, d2]`, any real dtype.
      normalised: divide by the geometric mean of the two self-similarities. The paper does not
        describe this division, but its tables hold values below 1.

    Returns:
      A scalar >= 0; in [0, 1] if normalised.

    Raises:
      ValueError: arrays other than `[n, d_i]` with the same n.
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
    for x in features:
        if not any(jnp.issubdtype(x.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
            raise ValueError(f"features must be real numbers, not {x.dtype}")
    return shapes[0][0]


def _check_count(n: int, estimator: str) -> None:
    least = ESTIMATORS[estimator].least
    if n < least:
        raise ValueError(
            f"the {estimator} estimator of linear CKA needs n >= {least} samples, got n = {n}"
        )
