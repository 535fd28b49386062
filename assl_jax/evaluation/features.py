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
from assl_jax.evaluation.finite import check_finite
from assl_jax.models.base import adapted, in_training
from assl_jax.models.cpu import compiler_options
from assl_jax.ops.intensity import Intensity
from assl_jax.training.feed import Examples, Feed
from assl_jax.training.sharding import everywhere

Variables = dict[str, Any]


def features(
    backbone: nn.Module,
    variables: Variables,
    images: Feed,
    rows: np.ndarray,
    *,
    intensity: Intensity,
    layer: str = "pooled",
    batch_size: int = 256,
) -> Float[np.ndarray, "n d"]:
    """Features of the images `rows`, in that order, without augmentation.

    Args:
      backbone, variables: the network, which runs in evaluation mode.
      images: a feed of `[N, *space, c]` stored integers.
      rows: numbers of n images; a row may occur more than once.
      intensity: how stored integers become network inputs.
      layer: "pooled", or a stage of the backbone, averaged over space.
      batch_size: images per batch.

    Returns:
      `[n, d]` float32.

    Raises:
      InputError: a layer that the backbone does not have.
      NotFinite: a feature that is NaN, infinite or huge.
    """
    apply = _apply(backbone, intensity, layer, images.mesh)
    batches = images.batches(_batches(rows, batch_size, images.mesh))
    parts = [np.asarray(apply(variables, batch)) for batch in batches]
    x = np.concatenate(parts)[: len(rows)]
    check_finite("features", x)
    return x


@functools.lru_cache(maxsize=64)
def _apply(backbone: nn.Module, intensity: Intensity, layer: str, mesh: Mesh):
    def apply(variables: Variables, images: Examples) -> Array:
        maps: Any = backbone.apply(variables, intensity(images.take()), train=False)
        require(layer in maps, f"layer={layer!r} is unknown; one of {', '.join(maps)}")
        chosen = maps[layer].astype(jnp.float32)
        return chosen.mean(tuple(range(1, chosen.ndim - 1)))

    # Every device gets the whole result, because a process reads only its own devices.
    return jax.jit(apply, out_shardings=everywhere(mesh), compiler_options=_options(mesh))


def reestimate_batch_stats(
    backbone: nn.Module,
    variables: Variables,
    images: Feed,
    rows: np.ndarray,
    *,
    intensity: Intensity,
    batch_size: int = 256,
) -> Variables:
    """`variables` with the running statistics re-estimated on plain images.

    The running statistics of a pretrained network come from tiles, masked or rotated images, or
    from several tasks. They do not fit whole images. Here the mean and the variance of every layer
    are averaged over batches of whole images. A network without BatchNorm stays as it is.

    Args:
      backbone, variables, images, intensity, batch_size: as in `features`.
      rows: numbers of the images; those that do not fill a batch are left out.
    """
    if not variables.get("batch_stats"):
        return variables
    mesh = images.mesh
    observe = _observe(adapted(backbone, bn_momentum=0.0), intensity, mesh)
    # Only whole batches: an image that fills up a batch would count twice.
    size = max(1, min(batch_size, len(rows)) // mesh.size) * mesh.size
    whole = rows[: max(1, len(rows) // size) * size]
    batches = images.batches(_batches(whole, size, mesh))
    total, count = None, 0
    for batch in batches:
        stats = observe(variables, batch)
        total = stats if total is None else jax.tree.map(jnp.add, total, stats)
        count += 1
    return variables | {"batch_stats": jax.tree.map(lambda a: a / count, total)}


@functools.lru_cache(maxsize=64)
def _observe(backbone: nn.Module, intensity: Intensity, mesh: Mesh):
    def observe(variables: Variables, images: Examples) -> Any:
        return in_training(backbone, variables, intensity(images.take()))[1]

    return jax.jit(observe, out_shardings=everywhere(mesh), compiler_options=_options(mesh))


def _options(mesh: Mesh) -> dict[str, Any] | None:
    return compiler_options(mesh.devices.flat[0].platform)


def _batches(rows: np.ndarray, batch_size: int, mesh: Mesh) -> Iterator[np.ndarray]:
    """Batches of one size that divides over the devices; repeated rows fill up the last batch."""
    batch_size = -(-batch_size // mesh.size) * mesh.size
    for start in range(0, len(rows), batch_size):
        yield np.resize(rows[start : start + batch_size], batch_size).astype(np.int32)
