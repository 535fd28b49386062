"""Checkpoints (Orbax). The files hold arrays and JSON; nothing is ever unpickled.

Of several processes the primary one writes, and each process reads on its own. The files hold whole
arrays and fit any number of devices.
"""

import contextlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from assl_jax.console import say
from assl_jax.training.processes import barrier, broadcast, gather, is_primary
from assl_jax.training.sharding import replicate


class Checkpoints:
    """The last checkpoint of a training; an older one is deleted after a newer one is written.

    Attributes:
      every: steps between two checkpoints; 0 for none but the last.
    """

    def __init__(self, folder: Path, every: int = 0) -> None:
        """Open `folder`; the primary process creates it."""
        self.every = every
        self._folder = folder.absolute()
        self._manager: ocp.CheckpointManager | None = None
        if is_primary():
            self._folder.mkdir(parents=True, exist_ok=True)
            options = ocp.CheckpointManagerOptions(
                max_to_keep=1,
                enable_async_checkpointing=False,
                create=False,
                multiprocessing_options=_without_waiting(),
            )
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    @property
    def latest(self) -> int | None:
        """The step of the newest complete checkpoint; None without one."""
        return broadcast(self._manager.latest_step() if self._manager else None)

    def due(self, step: int) -> bool:
        """Whether `every` asks for a checkpoint after so many steps."""
        return bool(self.every) and step % self.every == 0

    def save(self, step: int, state: Any) -> None:
        """Write a state unless its step is the latest; all processes call this."""
        if self.latest == step:
            return
        state = jax.tree.map(_whole, state)
        if self._manager:
            arrays = jax.tree.map(np.asarray, state)
            self._manager.save(step, args=ocp.args.StandardSave(arrays))

    def restore(self, like: Any, mesh: Mesh) -> Any:
        """The newest checkpoint on every device of `mesh`; `like` has the same tree and shapes."""
        folder = self._folder / str(self.latest) / "default"
        arrays = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
        with ocp.StandardCheckpointer(multiprocessing_options=_without_waiting()) as checkpointer:
            return replicate(checkpointer.restore(folder, arrays), mesh)

    def resume(self, state: Any, mesh: Mesh) -> Any:
        """The newest checkpoint; without one, `state`. A damaged one is deleted, which is said.

        All processes call this, and all get the same.
        """
        step = self.latest
        if step is None:
            return state
        found = None
        # What Orbax raises about damaged files; another OSError may be of a disk that recovers.
        with contextlib.suppress(ValueError, KeyError, FileNotFoundError):
            found = self.restore(state, mesh)
        if all(gather(found is not None)):
            return found
        say(f"the checkpoint {self._folder / str(step)} is damaged; this training begins anew")
        if self._manager:
            self._manager.delete(step)
        barrier()
        return state

    def close(self) -> None:
        """Release the files."""
        if self._manager:
            self._manager.close()


def save_tree(folder: Path, tree: Any) -> None:
    """Write a tree of arrays as one checkpoint folder, atomically.

    The calling process writes. Every device must hold a copy of the arrays.
    """
    with ocp.StandardCheckpointer(multiprocessing_options=_without_waiting()) as checkpointer:
        checkpointer.save(folder.absolute(), jax.tree.map(np.asarray, tree), force=True)


def load_tree(folder: Path) -> Any:
    """Read the tree that `save_tree` wrote, as NumPy arrays, on any number of devices."""
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_without_waiting())
    with ocp.Checkpointer(handler, multiprocessing_options=_without_waiting()) as checkpointer:
        tree = checkpointer.metadata(folder.absolute()).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(folder.absolute(), restore_args=as_numpy)


def _without_waiting() -> ocp.options.MultiprocessingOptions:
    """Options for a process that works on its own; Orbax's default makes processes wait."""
    own = ocp.multihost.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


def _whole(a: Any) -> Any:
    """The whole of an array that may be split over processes."""
    if isinstance(a, jax.Array) and not (a.is_fully_addressable or a.is_fully_replicated):
        return multihost_utils.process_allgather(a, tiled=True)
    return a
