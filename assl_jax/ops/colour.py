"""Random colour and intensity changes as one affine map of the channels per image.

Brightness, contrast, saturation and hue are affine maps of the channels. Their composition is one
matrix and one offset per image, with no clipping between the changes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from assl_jax.ops.chance import change_some

# ITU-R BT.601 luma, and the YIQ axes in which a hue change is a rotation of (I, Q).
LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)
TO_YIQ = np.asarray(
    [LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], np.float32
)
FROM_YIQ = np.linalg.inv(TO_YIQ)


def grey(images: Float[Array, "*shape c"]) -> Float[Array, "*shape 1"]:
    """The luma of RGB images; the mean of the channels for any other number of channels."""
    if images.shape[-1] == 3:
        return (images @ LUMA)[..., None]
    return images.mean(-1, keepdims=True)


def colour_jitter(
    rng: jax.Array,
    images: Float[Array, "b *space c"],
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    probability: float = 0.8,
) -> Float[Array, "b *space c"]:
    """Random brightness, contrast and, for RGB, saturation and hue (Chen et al. 2020, App. A).

    Args:
      images: `[b, *space, c]` unit intensities.
      brightness, contrast, saturation: a setting v draws a factor from `[1 - v, 1 + v]`, at least
        0.
      hue: draws a rotation from `[-hue, hue]`, in parts of the full circle.
      probability: share of changed images.

    Returns:
      `[b, *space, c]` unit intensities, clipped once at the end.

    Deviations: the order of the changes is fixed (brightness, contrast, saturation, hue), not
    random. The hue rotates in YIQ, not in HSV. With both, the whole change is one affine map.
    """
    b, channels = images.shape[0], images.shape[-1]
    keys = jax.random.split(rng, 5)
    wide = (b, *(1,) * (images.ndim - 1))

    def factor(key: jax.Array, strength: float) -> Array:
        return jax.random.uniform(key, (b,), minval=max(0.0, 1 - strength), maxval=1 + strength)

    bright = factor(keys[0], brightness).reshape(wide)
    steep = factor(keys[1], contrast).reshape(wide)
    level = grey(images).mean(tuple(range(1, images.ndim)), keepdims=True)
    x = bright * (steep * images + (1 - steep) * level)
    if channels == 3:
        turn = 2 * np.pi * jax.random.uniform(keys[3], (b,), minval=-hue, maxval=hue)
        x = _mix(x, _saturation(factor(keys[2], saturation)), _hue(turn))
    return change_some(keys[4], probability, jnp.clip(x, 0.0, 1.0), images)


def random_grey(
    rng: jax.Array, images: Float[Array, "b *space c"], *, probability: float = 0.2
) -> Float[Array, "b *space c"]:
    """Replace all channels by the luma in a random share of the images."""
    return change_some(rng, probability, grey(images), images)


def _saturation(factor: Array) -> Float[Array, "b 3 3"]:
    """A blend of the identity and the luma projection, for column vectors."""
    luma = np.broadcast_to(LUMA, (3, 3))
    f = factor[:, None, None]
    return f * np.eye(3, dtype=np.float32)[None] + (1 - f) * luma[None]


def _hue(turn: Array) -> Float[Array, "b 3 3"]:
    """Rotation of the chroma plane by `turn` radians; grey stays the same."""
    cos, sin, one = jnp.cos(turn), jnp.sin(turn), jnp.ones_like(turn)
    zero = jnp.zeros_like(turn)
    rows = [[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]]
    rotation = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
    return jnp.einsum("ij,bjk,kl->bil", FROM_YIQ, rotation, TO_YIQ)


def _mix(images: Array, first: Array, second: Array) -> Array:
    """Apply the channel matrix `second @ first` `[b, 3, 3]` to every pixel."""
    matrix = jnp.einsum("bij,bjk->bik", second, first)
    # Written out, because a product with such small matrices is many times slower on a CPU.
    columns = [matrix[:, :, j].reshape(-1, *(1,) * (images.ndim - 2), 3) for j in range(3)]
    red, green, blue = (images[..., j, None] * column for j, column in enumerate(columns))
    return red + green + blue
