"""Where arrays live: state and data on every device, batches split over them.

The devices may belong to several processes: each then makes the part that lies on its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from assl_jax.errors import require


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A one-axis mesh named `data` over all devices of all processes (or those given)."""
    devices = devices or jax.devices()
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def everywhere(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device has a copy of."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A copy of every array on every device; never an alias of what the caller holds.

    Processes must hold the same values; these are not compared, nor sent from one to another.
    """
    sharding = everywhere(mesh)

    def copy(a: Any) -> jax.Array:
        if sharding.is_fully_addressable:
            # The flag alone is not enough: on several devices JAX makes the source a replica.
            own = jnp.copy(a) if isinstance(a, jax.Array) else a
            return jax.device_put(own, sharding, may_alias=False)
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            words = copy(jax.random.key_data(a))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(a))
        host = np.array(a)
        return jax.make_array_from_callback(host.shape, sharding, lambda _: host)

    return jax.tree.map(copy, tree)


def split_batch(indices: np.ndarray, mesh: Mesh) -> jax.Array:
    """Indices `[b]` split over the mesh; what is gathered with them is split alike."""
    return split_rows(indices.shape, lambda part: indices[part], mesh)


def split_rows(
    shape: tuple[int, ...], read: Callable[[slice], np.ndarray], mesh: Mesh
) -> jax.Array:
    """An array `[b, ...]` split over the mesh; `read` gives the rows of each device here."""

    def part(index: Any) -> np.ndarray:
        return read(index[0])

    return jax.make_array_from_callback(shape, NamedSharding(mesh, PartitionSpec("data")), part)


def check_batch(batch_size: int, mesh: Mesh, what: str) -> None:
    """Raise `InputError` unless a batch divides over the devices."""
    require(
        batch_size % mesh.size == 0,
        f"{what}={batch_size} does not divide over {mesh.size} devices; use a multiple",
    )
