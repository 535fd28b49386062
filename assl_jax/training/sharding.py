"""Where arrays live: state and data on every device, batches split over them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from assl_jax.errors import require


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A one-axis mesh named `data` over all devices (or those given)."""
    devices = devices or jax.devices()
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A copy of every array on every device; never an alias of what the caller holds."""
    sharding = NamedSharding(mesh, PartitionSpec())

    def copy(a: Any) -> jax.Array:
        # The flag alone is not enough: on several devices JAX makes the source one of the replicas.
        return jax.device_put(
            jnp.copy(a) if isinstance(a, jax.Array) else a, sharding, may_alias=False
        )

    return jax.tree.map(copy, tree)


def split_batch(indices: np.ndarray, mesh: Mesh) -> jax.Array:
    """Indices `[b]` split over the mesh; what is gathered with them is split alike."""
    return jax.device_put(indices, NamedSharding(mesh, PartitionSpec("data")))


def check_batch(batch_size: int, mesh: Mesh, what: str) -> None:
    """Raise `InputError` unless a batch divides over the devices."""
    require(
        batch_size % mesh.size == 0,
        f"{what}={batch_size} does not divide over {mesh.size} devices; use a multiple",
    )
