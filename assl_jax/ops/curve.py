"""Random monotone curves of the intensities."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from assl_jax.ops.chance import chance, change_some


def bezier_table(points: Float[Array, "b 4 2"], levels: int) -> Float[Array, "b levels"]:
    """Tables of y over x for cubic Bézier curves.

    Args:
      points: `[b, 4, 2]` first point, two control points and last point as (x, y). The first x is
        0, the last x is 1, and the others lie between them. Then x never falls along the curve.
      levels: number of x values, evenly spaced from 0 to 1.

    Returns:
      `[b, levels]` the y value at each x.
    """
    t = jnp.linspace(0.0, 1.0, 4 * levels)
    s = 1 - t
    weights = jnp.stack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3])
    # At the highest precision, because a rounding error of x shifts the curve.
    x, y = jnp.einsum("bpi,pt->ibt", points, weights, precision=lax.Precision.HIGHEST)
    x = lax.cummax(x, axis=1)  # undoes rounding errors in the order
    interpolate = jax.vmap(jnp.interp, in_axes=(None, 0, 0))
    # In a loop of four rounds. Without a loop, XLA on a CPU repeats the interpolation at every
    # look-up of the table.
    per_round = -(-levels // 4)
    grid = jnp.linspace(0.0, 1.0, levels)
    return lax.map(lambda at: interpolate(at, x, y), grid, batch_size=per_round).T


def apply_table(
    images: Float[Array, "b *shape"], tables: Float[Array, "b levels"]
) -> Float[Array, "b *shape"]:
    """Map every intensity through its image's table, with linear interpolation.

    Args:
      images: `[b, *shape]` unit intensities.
      tables: `[b, levels]` the new values at `levels` >= 2 intensities, evenly spaced from 0 to 1.

    Returns:
      `[b, *shape]`, in the range of the table.
    """
    b, steps = tables.shape[0], tables.shape[1] - 1
    x = images.reshape(b, -1) * steps
    i = jnp.clip(x.astype(jnp.int32), 0, steps - 1)
    share = x - i
    low, high = (jnp.take_along_axis(tables, j, axis=1) for j in (i, i + 1))
    return ((1 - share) * low + share * high).reshape(images.shape)


def random_curve(
    rng: jax.Array,
    images: Float[Array, "b *shape"],
    *,
    probability: float = 0.9,
    inverted: float = 0.5,
    levels: int = 1024,
) -> Float[Array, "b *shape"]:
    """Map a random share of the images through random curves (Zhou et al. 2019, Sec. 2.1).

    A curve is a cubic Bézier curve from (0, 0) to (1, 1), or from (0, 1) to (1, 0) if it is
    inverted. Its two control points are uniform in the unit square. All channels of an image share
    one curve.

    Args:
      images: `[b, *shape]` unit intensities.
      probability: share of changed images.
      inverted: share of falling curves.
      levels: number of entries in a curve's table.

    Returns:
      `[b, *shape]` unit intensities.
    """
    b = images.shape[0]
    k_apply, k_inverted, k_points = jax.random.split(rng, 3)
    falls = chance(k_inverted, inverted, (b, 1)).astype(jnp.float32)
    first = jnp.concatenate([jnp.zeros((b, 1)), falls], axis=1)
    controls = jax.random.uniform(k_points, (b, 2, 2))
    points = jnp.concatenate([first[:, None], controls, 1 - first[:, None]], axis=1)
    curved = apply_table(images, bezier_table(points, levels))
    return change_some(k_apply, probability, curved, images)
