"""A convolution to compare with, and shapes of backbones."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models import make_backbone


@pytest.fixture(scope="session")
def slow_convolution():
    """`slow_convolution(x, kernel, stride)`: as `convolve`, in NumPy."""
    return slow


def slow(x, kernel, stride):
    """One output position at a time, with zeros around the image."""
    window = kernel.shape[:-2]
    x = np.pad(x, [(0, 0), *((k // 2, k // 2) for k in window), (0, 0)])
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, stride, strict=True)]
    y = np.zeros((x.shape[0], *out, kernel.shape[-1]))
    for place in itertools.product(*map(range, out)):
        box = tuple(slice(p * s, p * s + k) for p, s, k in zip(place, stride, window, strict=True))
        patch = x[(slice(None), *box)].reshape(x.shape[0], -1)
        y[(slice(None), *place)] = patch @ kernel.reshape(-1, kernel.shape[-1])
    return y


@pytest.fixture(scope="session")
def shapes():
    """`shapes(name, shape, **settings)`: shapes of a backbone's maps, and of its variables."""

    def run(name, shape, **settings):
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        init = make_backbone(name, **settings).init_with_output
        return jax.eval_shape(init, jax.random.key(0), x)

    return run
