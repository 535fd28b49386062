"""From stored integers to network inputs and back."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from assl_jax.errors import require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intensity:
    """The map from stored integers to network inputs; hashable, so it can be static under jit.

    Attributes:
      low, high: the stored values that map to 0 and 1: 0 and 255 for uint8 photographs, the ends
        of the window in HU for CT.
      mean, std: of unit intensities over the data set, one entry per channel or one entry for all
        channels.
    """

    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def unit(self, images: Shaped[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
        """Stored integers to float32 in [0, 1]; values outside `low` to `high` are clipped."""
        x = (jnp.asarray(images, jnp.float32) - self.low) / (self.high - self.low)
        return jnp.clip(x, 0.0, 1.0)

    def standardise(self, images: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Unit intensities to zero mean and unit variance over the data set."""
        return (images - _last_axis(self.mean, images)) / _last_axis(self.std, images)

    def unstandardise(self, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The inverse of `standardise`, clipped to [0, 1]: shows network inputs as images."""
        x = inputs * _last_axis(self.std, inputs) + _last_axis(self.mean, inputs)
        return jnp.clip(x, 0.0, 1.0)

    def __call__(self, images: Shaped[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
        """Stored integers to network inputs: `standardise(unit(images))`.

        Floats are accepted if they are whole numbers. (Under jit, values cannot be checked.)

        Raises:
          InputError: fractions, such as images that were scaled to 0..1; another number of channels
            than that of the data set.
        """
        if not isinstance(images, jax.core.Tracer):
            values = np.asarray(images)
            require(
                values.dtype.kind != "f" or bool((values == np.rint(values)).all()),
                f"the images are {values.dtype} with fractions; give the stored integers "
                f"({self.low:g} to {self.high:g}), as the data set has them",
            )
        return self.standardise(self.unit(images))


def standardise_each(images: Float[Array, "b *shape"]) -> Float[Array, "b *shape"]:
    """Standardise every image with its own mean and variance, per channel.

    The root of the variance includes 1e-6. A constant image becomes zeros, up to the rounding
    of its mean.
    """
    axes = tuple(range(1, images.ndim - 1))
    centred = images - images.mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axes, keepdims=True) + 1e-6)


def _last_axis(values: tuple[float, ...], images: Array) -> np.ndarray:
    """`values` along the last axis, with the rank of `images`."""
    c = images.shape[-1]
    require(
        len(values) in (1, c),
        f"the images have {c} channels, those of the data set {len(values)}; convert them",
    )
    return np.asarray(values, np.float32).reshape(*(1,) * (images.ndim - 1), -1)
