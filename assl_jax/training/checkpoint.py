"""Checkpoints (Orbax). Arrays and JSON only: nothing is ever unpickled."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Checkpoints:
    """The last checkpoint of a training stage; writing a newer one comes before dropping it."""

    def __init__(self, folder: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    @property
    def latest(self) -> int | None:
        """Number of steps of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any) -> None:
        if self.latest != step:
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, like: Any, mesh: Mesh) -> Any:
        """The newest checkpoint, shaped as `like`, on every device of `mesh`."""
        return self._manager.restore(
            self.latest, args=ocp.args.StandardRestore(_abstract(like, mesh))
        )

    def close(self) -> None:
        self._manager.close()


def save_tree(folder: Path, tree: Any) -> None:
    """Write a tree of arrays as one checkpoint folder; appears whole or not at all."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), tree, force=True)


def load_tree(folder: Path) -> Any:
    """Read what `save_tree` wrote, as NumPy arrays, whatever devices it was saved from."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.metadata(folder.absolute()).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(folder.absolute(), restore_args=as_numpy)


def _abstract(like: Any, mesh: Mesh) -> Any:
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), like)
