"""Features of a trained backbone in evaluation mode."""

import functools
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from assl_jax.errors import require
from assl_jax.ops.intensity import Intensity
from assl_jax.training.sharding import split_batch

Variables = dict[str, Any]


def features(
    backbone: nn.Module,
    variables: Variables,
    images: Array,
    rows: np.ndarray,
    *,
    intensity: Intensity,
    mesh: Mesh,
    layer: str = "pooled",
    batch_size: int = 256,
) -> Float[np.ndarray, "n d"]:
    """Features of `images[rows]`, in that order, without augmentation.

    Args:
      images: `[N, *space, c]` stored integers on the devices of `mesh`.
      layer: "pooled", or a stage of the backbone, averaged over space.

    Raises:
      InputError: a layer that the backbone does not have.
    """
    apply = _apply(backbone, intensity, layer)
    batches = _batches(rows, batch_size, mesh)
    parts = [np.asarray(apply(variables, images, split_batch(b, mesh))) for b in batches]
    return np.concatenate(parts)[: len(rows)]


@functools.lru_cache(maxsize=64)
def _apply(backbone: nn.Module, intensity: Intensity, layer: str):
    def apply(variables: Variables, images: Array, indices: Array) -> Array:
        maps: Any = backbone.apply(variables, intensity(images[indices]), train=False)
        require(layer in maps, f"layer={layer!r} is unknown; one of {', '.join(maps)}")
        chosen = maps[layer].astype(jnp.float32)
        return chosen.mean(tuple(range(1, chosen.ndim - 1)))

    return jax.jit(apply)


def reestimate_batch_stats(
    backbone: nn.Module,
    variables: Variables,
    images: Array,
    rows: np.ndarray,
    *,
    intensity: Intensity,
    mesh: Mesh,
    batch_size: int = 256,
) -> Variables:
    """`variables` with running statistics estimated anew, on plain images.

    A network trained on tiles, masked or turned images, or on a mixture of tasks, carries running
    statistics that do not fit whole images. Mean and variance of every layer are averaged over the
    batches of `images[rows]`; a remainder is left out.
    """
    observe = _observe(backbone.clone(bn_momentum=0.0), intensity)
    # Whole batches alone: an image that fills one up would count twice.
    size = max(1, min(batch_size, len(rows)) // mesh.size) * mesh.size
    whole = rows[: max(1, len(rows) // size) * size]
    batches = list(_batches(whole, size, mesh))
    total = None
    for batch in batches:
        stats = observe(variables, images, split_batch(batch, mesh))
        total = stats if total is None else jax.tree.map(jnp.add, total, stats)
    return variables | {"batch_stats": jax.tree.map(lambda a: a / len(batches), total)}


@functools.lru_cache(maxsize=64)
def _observe(backbone: nn.Module, intensity: Intensity):
    def observe(variables: Variables, images: Array, indices: Array) -> Any:
        inputs = intensity(images[indices])
        return backbone.apply(variables, inputs, train=True, mutable=["batch_stats"])[1][
            "batch_stats"
        ]

    return jax.jit(observe)


def _batches(rows: np.ndarray, batch_size: int, mesh: Mesh) -> Iterator[np.ndarray]:
    """Batches of one size that divides over the devices; the last is filled up with repeats."""
    batch_size = -(-batch_size // mesh.size) * mesh.size
    for start in range(0, len(rows), batch_size):
        yield np.resize(rows[start : start + batch_size], batch_size).astype(np.int32)
