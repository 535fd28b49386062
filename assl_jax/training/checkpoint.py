"""Checkpoints (Orbax). Arrays and JSON only: nothing is ever unpickled.

Of several processes the first writes, and each reads by itself: the files hold whole arrays and
fit any number of devices.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from assl_jax.training.processes import broadcast, is_primary
from assl_jax.training.sharding import replicate


class Checkpoints:
    """The last checkpoint of a training stage; writing a newer one comes before dropping it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._manager: ocp.CheckpointManager | None = None
        if is_primary():
            self._folder.mkdir(parents=True, exist_ok=True)
            options = ocp.CheckpointManagerOptions(
                max_to_keep=1,
                enable_async_checkpointing=False,
                create=False,
                multiprocessing_options=_by_itself(),
            )
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    @property
    def latest(self) -> int | None:
        """Number of steps of the newest complete checkpoint."""
        return broadcast(self._manager.latest_step() if self._manager else None)

    def save(self, step: int, state: Any) -> None:
        """Write a state unless it is there; all processes call."""
        if self.latest == step:
            return
        state = jax.tree.map(_whole, state)
        if self._manager:
            arrays = jax.tree.map(np.asarray, state)
            self._manager.save(step, args=ocp.args.StandardSave(arrays))

    def restore(self, like: Any, mesh: Mesh) -> Any:
        """The newest checkpoint, shaped as `like`, on every device of `mesh`."""
        folder = self._folder / str(self.latest) / "default"
        arrays = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
        with ocp.StandardCheckpointer(multiprocessing_options=_by_itself()) as checkpointer:
            return replicate(checkpointer.restore(folder, arrays), mesh)

    def close(self) -> None:
        if self._manager:
            self._manager.close()


def save_tree(folder: Path, tree: Any) -> None:
    """Write a tree of arrays as one checkpoint folder; appears whole or not at all.

    The process that calls writes; every device has to have a copy of the arrays.
    """
    with ocp.StandardCheckpointer(multiprocessing_options=_by_itself()) as checkpointer:
        checkpointer.save(folder.absolute(), jax.tree.map(np.asarray, tree), force=True)


def load_tree(folder: Path) -> Any:
    """Read what `save_tree` wrote, as NumPy arrays, whatever devices it was saved from."""
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_by_itself())
    with ocp.Checkpointer(handler, multiprocessing_options=_by_itself()) as checkpointer:
        tree = checkpointer.metadata(folder.absolute()).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(folder.absolute(), restore_args=as_numpy)


def _by_itself() -> ocp.options.MultiprocessingOptions:
    """Orbax would have every process take part in everything; here none waits for another."""
    own = ocp.multihost.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


def _whole(a: Any) -> Any:
    """An array of which this process has all."""
    if isinstance(a, jax.Array) and not (a.is_fully_addressable or a.is_fully_replicated):
        return multihost_utils.process_allgather(a, tiled=True)
    return a
