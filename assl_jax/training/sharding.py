"""Where arrays live: state and data are copied to every device, batches are split over the devices.

The devices may belong to several processes. Each process then makes the shards of its own devices.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from assl_jax.errors import require


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A one-axis mesh named `data` over the given devices, or over all devices of all processes."""
    devices = devices or jax.devices()
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def everywhere(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds a copy of."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch `[b, ...]`: each device holds its share of the rows."""
    return NamedSharding(mesh, PartitionSpec("data"))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A copy of every array on every device; it never shares memory with the caller's arrays.

    All processes must pass the same values. The values are neither compared nor sent.
    """
    sharding = everywhere(mesh)

    def copy(a: Any) -> jax.Array:
        if sharding.is_fully_addressable:
            # The flag alone is not enough: on several devices JAX uses the source as a replica.
            own = jnp.copy(a) if isinstance(a, jax.Array) else a
            return jax.device_put(own, sharding, may_alias=False)
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            words = copy(jax.random.key_data(a))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(a))
        host = np.array(a)
        return jax.make_array_from_callback(host.shape, sharding, lambda _: host)

    return jax.tree.map(copy, tree)


def split_batch(indices: np.ndarray, mesh: Mesh) -> jax.Array:
    """Indices `[b]` split over the mesh; an array gathered with them is split in the same way."""
    return split_rows(indices.shape, lambda shard: indices[shard], mesh)


def split_rows(
    shape: tuple[int, ...], read: Callable[[slice], np.ndarray], mesh: Mesh
) -> jax.Array:
    """An array of a shape `[b, ...]` split over the mesh; `read` gives the rows of one device."""

    def shard(index: Any) -> np.ndarray:
        return read(index[0])

    return jax.make_array_from_callback(shape, split(mesh), shard)


def check_batch(batch_size: int, mesh: Mesh, setting: str) -> None:
    """Raise an `InputError` that names `setting` unless a batch divides over the devices."""
    require(
        batch_size % mesh.size == 0,
        f"{setting}={batch_size} does not divide over {mesh.size} devices; use a multiple",
    )
