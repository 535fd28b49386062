"""Losses of the proxy tasks as pure functions: per-example values, the caller reduces.

All losses compute in float32 or wider, for inputs of any dtype, and similarities at the highest
matmul precision. No batch size is built in: the negatives are the examples in the arrays. Under
`jit` on a sharded batch they span all devices.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num, Shaped

from assl_jax.errors import choice

MCPC_FORMS = ("ratio", "info_nce")
MCPC_REDUCTIONS = ("mean", "sum")

_EPS = 1e-12  # inside the root of a norm
_RATIO_EPS = 1e-6  # added to the denominators of Eq. 3, which are cross-entropies of order 1


def softmax_cross_entropy(
    logits: Float[Array, "b k"], labels: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Cross-entropy of class labels, the loss of all classifying proxy tasks (Sec. 2.1).

    Args:
      logits: `[b, k]` unnormalised log-probabilities.
      labels: `[b]` integer classes in [0, k).

    Returns:
      `[b]`, >= 0. NaN for a label outside [0, k): the label -1 of an unlabeled image must not
      count as the last class.
    """
    known = (labels >= 0) & (labels < logits.shape[1])
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(
        _wide(logits), jnp.where(known, labels, 0)
    )
    return jnp.where(known, loss, jnp.nan)


def binary_cross_entropy(
    logits: Float[Array, "*shape"], targets: Shaped[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Cross-entropy of independent binary predictions, element by element.

    Args:
      logits: `[*shape]` log-odds.
      targets: `[*shape]` probabilities in [0, 1], or booleans.

    Returns:
      `[*shape]`, >= 0; log 2 for a logit of 0. NaN for a target outside [0, 1].

    Raises:
      ValueError: unequal shapes.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"binary_cross_entropy needs equal shapes, got {logits.shape} and {targets.shape}"
        )
    y = _wide(targets)
    loss = optax.losses.sigmoid_binary_cross_entropy(_wide(logits), y)
    return jnp.where((y >= 0) & (y <= 1), loss, jnp.nan)


def cross_entropy_matrix(
    z_logits: Float[Array, "n d"], a_logits: Float[Array, "b d"]
) -> Float[Array, "b n"]:
    """Binary cross-entropy between every prediction and every target, the terms of Eq. 3.

    Entry (i, j) is the mean over d of -z_j log a_i - (1 - z_j) log(1 - a_i), with z and a the
    sigmoids of the logits. All terms have the same sign, so there is no cancellation.

    Args:
      z_logits: `[n, d]`, targets.
      a_logits: `[b, d]`, predictions.

    Returns:
      `[b, n]`, >= 0.

    Deviations: Eq. 3 leaves a vector; this is its mean over d. The ratio of Eq. 3 is the same for
    a mean and a sum. With a mean, a temperature does not depend on the width of the features.
    """
    z, a = _wide(z_logits), _wide(a_logits)
    positive = _dot(jax.nn.log_sigmoid(a), jax.nn.sigmoid(z))
    negative = _dot(jax.nn.log_sigmoid(-a), jax.nn.sigmoid(-z))
    return -(positive + negative) / z.shape[1]


def mcpc_loss(
    prediction: Float[Array, "b d"],
    tiles: Float[Array, "b m d"],
    *,
    form: str = "ratio",
    reduction: str = "mean",
    temperature: float = 0.1,
) -> Float[Array, " b"]:
    """Contrastive loss of modified CPC: tell the last tile of a route from all other tiles.

    Sec. 2.2, Eq. 3. The positive of an image is its last tile. The negatives are the b*m - 1 other
    tiles of the batch, including the image's own first m - 1 tiles.

    Args:
      prediction: `[b, d]` predicted features of the last tile, before the sigmoid.
      tiles: `[b, m, d]` features of each image's tiles in route order, before the sigmoid; m >= 2.
      form: "ratio" is the mean over negatives i of BCE(z_m, z') / BCE(z_i, z'). "info_nce" is the
        softmax cross-entropy of -BCE / temperature with the positive as the class.
      reduction: "mean" or "sum" over the negatives, for the form "ratio".
      temperature: > 0, for the form "info_nce".

    Returns:
      `[b]`, >= 0. The ratio is near 1 for an uninformative prediction.

    Raises:
      ValueError: a single tile, unknown form or reduction, temperature <= 0.

    Deviations: the sign of Eq. 3 is dropped. With the printed sign, minimisation raises the
    cross-entropy of the positive over that of the negatives. A mean over the negatives replaces
    the sum, which grows with the batch. The denominators include 1e-6. The form "info_nce" is not
    in the paper.
    """
    choice(form, MCPC_FORMS, "mcpc_loss: form")
    choice(reduction, MCPC_REDUCTIONS, "mcpc_loss: reduction")
    _check_temperature("mcpc_loss", temperature)
    b, m, d = tiles.shape
    if m < 2:
        raise ValueError(f"mcpc_loss needs tiles [b, m >= 2, d], got {tiles.shape}")
    bce = cross_entropy_matrix(tiles.reshape(b * m, d), prediction)
    positive = jnp.arange(b) * m + m - 1
    if form == "info_nce":
        return softmax_cross_entropy(-bce / temperature, positive)
    ratios = jnp.take_along_axis(bce, positive[:, None], axis=1) / (bce + _RATIO_EPS)
    is_negative = jnp.arange(b * m)[None] != positive[:, None]
    total = jnp.sum(ratios, axis=1, where=is_negative)
    return total if reduction == "sum" else total / (b * m - 1)


def info_nce(
    queries: Float[Array, "n d"], keys: Float[Array, "n d"], *, temperature: float = 1.0
) -> Float[Array, " n"]:
    """InfoNCE: tell each query's own key from the keys of the other queries by dot products.

    van den Oord et al. 2018, Eq. 4, as in CPC. The caller applies the bilinear map.

    Args:
      queries: `[n, d]`.
      keys: `[n, d]`; key i is the positive of query i.
      temperature: > 0, divides the dot products.

    Returns:
      `[n]`, >= 0; log n for an uninformative query.

    Raises:
      ValueError: shapes other than two equal `[n, d]`, temperature <= 0.
    """
    _check_pair("info_nce", queries, keys)
    _check_temperature("info_nce", temperature)
    logits = _dot(_wide(queries), _wide(keys)) / temperature
    return softmax_cross_entropy(logits, jnp.arange(len(queries)))


def nt_xent(
    a: Float[Array, "b d"], b: Float[Array, "b d"], *, temperature: float = 0.5
) -> Float[Array, " b"]:
    """NT-Xent: tell the other view of an image from the two views of every other image.

    SimCLR, Chen et al. 2020, Eq. 1: softmax cross-entropy over cosine similarities, without the
    similarity of a view to itself.

    Args:
      a, b: `[b, d]` projections of two views; row i of each belongs to image i. Any b >= 1.
      temperature: > 0, divides the similarities.

    Returns:
      `[b]`, >= 0, the mean over the two views of each image; log(2 b - 1) for constant
      projections, 0 for a single image.

    Raises:
      ValueError: shapes other than two equal `[b, d]`, temperature <= 0.
    """
    _check_pair("nt_xent", a, b)
    _check_temperature("nt_xent", temperature)
    n = len(a)
    z = jnp.concatenate([_wide(a), _wide(b)])
    z = z * jax.lax.rsqrt(jnp.sum(z**2, axis=1, keepdims=True) + _EPS)
    logits = jnp.where(jnp.eye(2 * n, dtype=bool), -jnp.inf, _dot(z, z) / temperature)
    loss = softmax_cross_entropy(logits, (jnp.arange(2 * n) + n) % (2 * n))
    return loss.reshape(2, n).mean(axis=0)


def cosine_distance(a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Squared distance of the directions of paired vectors: 2 - 2 times their cosine.

    BYOL, Grill et al. 2020, Eq. 2.

    Args:
      a, b: `[n, d]`; a row of zeros has cosine 0 to everything.

    Returns:
      `[n]`, in [0, 4]; 2 for orthogonal vectors.

    Raises:
      ValueError: shapes other than two equal `[n, d]`.
    """
    _check_pair("cosine_distance", a, b)
    x, y = _wide(a), _wide(b)
    scale = jax.lax.rsqrt(jnp.sum(x**2, 1) + _EPS) * jax.lax.rsqrt(jnp.sum(y**2, 1) + _EPS)
    return 2 - 2 * jnp.sum(x * y, 1) * scale


def variance_hinge(
    z: Float[Array, "n d"], *, target: float = 1.0, eps: float = 1e-4
) -> Float[Array, " d"]:
    """How far the standard deviation of each feature lies below `target`.

    VICReg, Bardes et al. 2022, Eq. 1: max(0, target - sqrt(variance + eps)).

    Args:
      z: `[n, d]`, n >= 2.
      target: the standard deviation that is large enough.
      eps: keeps the gradient finite at a variance of 0.

    Returns:
      `[d]`, in [0, target].

    Raises:
      ValueError: another shape, or fewer than two rows.
    """
    _check_batch("variance_hinge", z)
    return jax.nn.relu(target - jnp.sqrt(jnp.var(_wide(z), axis=0, ddof=1) + eps))


def covariance_penalty(z: Float[Array, "n d"]) -> Float[Array, ""]:
    """The sum of the squared covariances between different features, divided by their number d.

    VICReg, Bardes et al. 2022, Eq. 4, with the unbiased covariance of Eq. 3.

    Args:
      z: `[n, d]`, n >= 2.

    Returns:
      A number >= 0; 0 for uncorrelated features.

    Raises:
      ValueError: another shape, or fewer than two rows.
    """
    _check_batch("covariance_penalty", z)
    x = _wide(z)
    x = x - x.mean(0, keepdims=True)
    covariance = _dot(x.T, x.T) / (len(x) - 1)
    off_diagonal = jnp.where(jnp.eye(x.shape[1], dtype=bool), 0.0, covariance)
    return jnp.sum(off_diagonal**2) / x.shape[1]


def masked_l2(
    prediction: Float[Array, "b *space c"],
    target: Float[Array, "b *space c"],
    mask: Shaped[Array, "b *space 1"],
) -> Float[Array, " b"]:
    """Mean squared error over the masked positions of each image.

    The reconstruction loss of context encoders, Pathak et al. 2016, Eq. 1, divided by the mask's
    area. With a mask of ones it is the plain L2 loss.

    Args:
      prediction, target: `[b, *space, c]`.
      mask: `[b, *space, 1]`, 1 or True at positions that count, the same for all channels.

    Returns:
      `[b]`, >= 0; 0 for an empty mask.

    Raises:
      ValueError: other shapes.
    """
    shape = prediction.shape
    if len(shape) < 2 or target.shape != shape or mask.shape != (*shape[:-1], 1):
        raise ValueError(
            f"masked_l2 needs prediction and target [b, *space, c] and mask [b, *space, 1], "
            f"got {shape}, {target.shape} and {mask.shape}"
        )
    axes = tuple(range(1, len(shape)))
    weight = _wide(mask)
    area = weight.sum(axes) * shape[-1]
    error = jnp.sum(weight * (_wide(prediction) - _wide(target)) ** 2, axes)
    return error / jnp.where(area > 0, area, 1.0)


def _wide(x: Shaped[Array, "*shape"]) -> Float[Array, "*shape"]:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _dot(x: Num[Array, "n d"], y: Num[Array, "m d"]) -> Num[Array, "n m"]:
    return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)


def _check_pair(name: str, x: Shaped[Array, "..."], y: Shaped[Array, "..."]) -> None:
    """Refuse what would be broadcast."""
    if x.ndim != 2 or x.shape != y.shape or 0 in x.shape:
        raise ValueError(f"{name} needs equal shapes [n, d], got {x.shape} and {y.shape}")


def _check_batch(name: str, z: Shaped[Array, "..."]) -> None:
    if len(z) < 2 or not z.shape[1]:
        raise ValueError(f"{name} needs a shape [n >= 2, d >= 1], got {z.shape}")


def _check_temperature(name: str, temperature: float) -> None:
    if not isinstance(temperature, jax.Array) and temperature <= 0:
        raise ValueError(f"{name}: temperature must be > 0, not {temperature}")
