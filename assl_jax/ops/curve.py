"""Random curves through which intensities pass."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def bezier_table(points: Float[Array, "b 4 2"], levels: int) -> Float[Array, "b levels"]:
    """Cubic Bézier curves as functions of their abscissa.

    Args:
      points: `[b, 4, 2]` first point, two control points and last point as (x, y); the first x is
        0, the last 1 and the others between, so that x never falls along the curve.
      levels: how many abscissae, evenly from 0 to 1.

    Returns:
      `[b, levels]` the ordinates there.
    """
    t = jnp.linspace(0.0, 1.0, 4 * levels)
    s = 1 - t
    weights = jnp.stack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3])
    # Every digit counts: a rounded x is a shifted curve.
    x, y = jnp.einsum("bpi,pt->ibt", points, weights, precision=lax.Precision.HIGHEST)
    x = lax.cummax(x, axis=1)  # rounding aside it is sorted already
    interpolate = jax.vmap(jnp.interp, in_axes=(None, 0, 0))
    # In a loop of a few rounds: without one, XLA on a CPU interpolates anew at every look-up.
    round_of = -(-levels // 4)
    grid = jnp.linspace(0.0, 1.0, levels)
    return lax.map(lambda at: interpolate(at, x, y), grid, batch_size=round_of).T


def apply_table(
    images: Float[Array, "b *shape"], tables: Float[Array, "b levels"]
) -> Float[Array, "b *shape"]:
    """Replace every unit intensity by what its image's table says, linear between two entries.

    Args:
      images: unit intensities.
      tables: `[b, levels]` the values at `levels` >= 2 intensities, evenly from 0 to 1.
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
    """Pass some of the images through a random monotone curve (Zhou et al. 2019, Sec. 2.1).

    A cubic Bézier curve from (0, 0) to (1, 1), or, inverted, from (0, 1) to (1, 0); its two control
    points are uniform in the unit square. One curve serves all channels of an image.

    Args:
      images: unit intensities.
      probability: share of images that are changed.
      inverted: share of curves that fall.
      levels: size of the table that stands for a curve.

    Returns:
      Unit intensities.
    """
    b = images.shape[0]
    k_apply, k_inverted, k_points = jax.random.split(rng, 3)
    falls = jax.random.bernoulli(k_inverted, inverted, (b, 1)).astype(jnp.float32)
    first = jnp.concatenate([jnp.zeros((b, 1)), falls], axis=1)
    controls = jax.random.uniform(k_points, (b, 2, 2))
    points = jnp.concatenate([first[:, None], controls, 1 - first[:, None]], axis=1)
    curved = apply_table(images, bezier_table(points, levels))
    change = jax.random.bernoulli(k_apply, probability, (b,))
    return jnp.where(change.reshape(-1, *(1,) * (images.ndim - 1)), curved, images)
