"""A training loop of your own with the losses and the penalty alone: plain Flax and Optax.

    python examples/own_loop.py

A small network learns SimCLR's loss on the digits. A second one learns it too, with a penalty that
keeps its features unlike those of the first (Self-ASSL, Eq. 6 of the paper). Of assl_jax only
`losses` and `lcka` are used, which import JAX, NumPy and Optax alone.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

from assl_jax.lcka import linear_cka
from assl_jax.losses import nt_xent


class Network(nn.Module):
    """Images `[n, 8, 8, 1]` to features `[n, 16]`."""

    @nn.compact
    def __call__(self, x):
        for channels in (16, 32):
            x = nn.relu(nn.Conv(channels, (3, 3), strides=2)(x))
        return nn.Dense(16)(x.reshape(len(x), -1))


def views(key, images):
    """Two noisy and shifted copies of each image."""

    def view(key):
        k_noise, k_shift = jax.random.split(key)
        shift = jax.random.randint(k_shift, (2,), -1, 2)
        noise = 0.2 * jax.random.normal(k_noise, images.shape)
        return jnp.roll(images, shift, axis=(1, 2)) + noise

    return [view(k) for k in jax.random.split(key)]


def train(images, *, seed, steps=60, first=None, weight=1.0):
    """Train a network; with parameters `first`, unlike the network that has them."""
    network, optimiser = Network(), optax.adam(1e-3)
    params = network.init(jax.random.key(seed), images[:1])
    state = optimiser.init(params)

    def loss(params, key, batch):
        a, b = views(key, batch)
        za, zb = network.apply(params, a), network.apply(params, b)
        total = nt_xent(za, zb, temperature=0.5).mean()
        if first is not None:
            total += weight * linear_cka(za, network.apply(first, a))
        return total

    @jax.jit
    def step(params, state, key):
        k_rows, k_views = jax.random.split(key)
        batch = images[jax.random.randint(k_rows, (128,), 0, len(images))]
        value, gradient = jax.value_and_grad(loss)(params, k_views, batch)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    for key in jax.random.split(jax.random.key(seed + 1), steps):
        params, state, value = step(params, state, key)
    return params, float(value)


def main() -> dict[str, float]:
    """Train the three networks; return and print the similarity of two of them to the first."""
    images = jnp.asarray(load_digits().images[..., None] / 16.0)
    first, _ = train(images, seed=0)
    plain, _ = train(images, seed=7)
    unlike, _ = train(images, seed=7, first=first)
    features = [Network().apply(params, images) for params in (first, plain, unlike)]
    found = {
        "without the penalty": float(linear_cka(features[0], features[1])),
        "with the penalty": float(linear_cka(features[0], features[2])),
    }
    for name, similarity in found.items():
        print(f"LCKA with the first network, {name}: {similarity:.3f}")
    return found


if __name__ == "__main__":
    main()
