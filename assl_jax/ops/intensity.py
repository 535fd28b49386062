"""From stored integers to network inputs and back, and random intensity changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intensity:
    """How stored integers map to network inputs; hashable, so static under jit.

    Attributes:
      low, high: stored values that map to 0 and 1 (0 and 255 for uint8 photographs, the window's
        ends in HU for CT).
      mean, std: per channel, of unit intensities; one entry serves every channel.
    """

    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def unit(self, images: Shaped[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
        """Stored integers to float32 in [0, 1]; what lies outside `low` to `high` is clipped."""
        x = (jnp.asarray(images, jnp.float32) - self.low) / (self.high - self.low)
        return jnp.clip(x, 0.0, 1.0)

    def standardise(self, images: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Unit intensities to zero mean and unit variance over the data set."""
        return (images - _last_axis(self.mean, images)) / _last_axis(self.std, images)

    def unstandardise(self, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The inverse of `standardise`, clipped to [0, 1]: for looking at what a network saw."""
        x = inputs * _last_axis(self.std, inputs) + _last_axis(self.mean, inputs)
        return jnp.clip(x, 0.0, 1.0)

    def __call__(self, images: Shaped[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
        """Stored integers to network inputs: `standardise(unit(images))`."""
        return self.standardise(self.unit(images))


def standardise_each(images: Float[Array, "b *shape"]) -> Float[Array, "b *shape"]:
    """Give every entry along the first axis zero mean and unit variance, per channel.

    A constant entry becomes zeros: the variance has 1e-6 added inside the root.
    """
    axes = tuple(range(1, images.ndim - 1))
    centred = images - images.mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axes, keepdims=True) + 1e-6)


def _last_axis(values: tuple[float, ...], images: Array) -> np.ndarray:
    """`values` along the channels, of the same rank as `images`."""
    return np.asarray(values, np.float32).reshape(*(1,) * (images.ndim - 1), -1)
