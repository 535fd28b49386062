"""Random choices with a probability."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped


def chance(rng: jax.Array, probability: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Independent booleans, true with `probability`, which may be an integer."""
    return jax.random.bernoulli(rng, float(probability), shape)


def change_some(
    rng: jax.Array,
    probability: float,
    changed: Shaped[Array, "b ..."],
    images: Shaped[Array, "b *shape"],
) -> Shaped[Array, "b *shape"]:
    """`changed`, which may have one channel, for a random share of the images; the rest stays."""
    change = chance(rng, probability, (images.shape[0],))
    return jnp.where(change.reshape(-1, *(1,) * (images.ndim - 1)), changed, images)
