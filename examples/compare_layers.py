"""Linear CKA between all layers of two networks.

    python examples/compare_layers.py

Two ResNet-10 with different random weights see the same digits. For networks of a run, take
`module, variables = assl_jax.load_backbone("runs/mtassl_digits")` in place of `random_network`.
"""

import jax
import numpy as np

from assl_jax.data import load
from assl_jax.lcka import lcka_matrix
from assl_jax.models import make_backbone


def random_network(seed, example):
    """A backbone with random weights, and its variables."""
    module = make_backbone("resnet10", width=1 / 8, stem="half")
    return module, jax.jit(module.init)(jax.random.key(seed), example)


def layers(module, variables, inputs):
    """The features of each layer, from the shallowest, averaged over space: `[n, d]` by name."""
    maps = jax.jit(module.apply)(variables, inputs)
    space = tuple(range(1, inputs.ndim - 1))
    names = ["stem", *sorted(name for name in maps if name.startswith("stage"))]
    return {name: maps[name].mean(space) for name in names}


def similarities(one, other):
    """`[layers of one, layers of the other]`; two widths may differ, the images must not."""
    every = lcka_matrix([*one.values(), *other.values()])
    return np.asarray(every)[: len(one), len(one) :]


def main() -> np.ndarray:
    """Print and return the similarities."""
    data = load("digits", side=16)
    inputs = data.intensity(data.images[:256])
    one, other = (layers(*random_network(seed, inputs), inputs) for seed in (0, 1))
    found = similarities(one, other)
    print(" " * 8 + "".join(f"{name:>8}" for name in other))
    for name, row in zip(one, found, strict=True):
        print(f"{name:<8}" + "".join(f"{value:8.2f}" for value in row))
    return found


if __name__ == "__main__":
    main()
