"""Checkpoints (Orbax). The files hold arrays and JSON; nothing is ever unpickled.

Of several processes the primary one writes, and each process reads on its own. The files hold whole
arrays and fit any number of devices.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from assl_jax.console import say
from assl_jax.errors import InputError, Unusable
from assl_jax.files import digests, first_changed, hash_of
from assl_jax.ranges import Count, check
from assl_jax.records import read_settings, write
from assl_jax.training.processes import barrier, broadcast, gather, is_primary
from assl_jax.training.sharding import replicate

CHECKPOINTS = "checkpoints"  # folder of them beside the log of a training
KEPT = 2  # checkpoints of a training that is not finished: the older one replaces a damaged one
DIGESTS = "digests.json"  # of the other files of a checkpoint
# What Orbax raises about damaged files; another OSError may be of a disk that recovers.
DAMAGED = (ValueError, KeyError, FileNotFoundError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """When a training writes checkpoints.

    Attributes:
      checkpoint_every: steps between two checkpoints of a training.

    Raises:
      InputError: a number out of range.
    """

    checkpoint_every: Count = 1000

    def __post_init__(self) -> None:
        check(self)


class Checkpoints:
    """The last checkpoints of a training, `KEPT` of them until it is finished, then one.

    Attributes:
      last: whether the last step of a training is written too.
    """

    def __init__(
        self, folder: Path, policy: CheckpointPolicy | None = None, *, last: bool = True
    ) -> None:
        """Look into `folder`; the primary process creates it with the first checkpoint.

        Without a `policy`, none is due before the last step.
        """
        self.last = last
        self._policy = policy
        self._folder = folder.absolute()
        self._opened: ocp.CheckpointManager | None = None

    @property
    def _manager(self) -> ocp.CheckpointManager | None:
        """What writes the checkpoints, in the primary process."""
        if self._opened is None and is_primary():
            self._folder.mkdir(parents=True, exist_ok=True)
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEPT,
                enable_async_checkpointing=False,
                create=False,
                cleanup_tmp_directories=True,  # of a process that was killed
                multiprocessing_options=_without_waiting(),
            )
            self._opened = ocp.CheckpointManager(self._folder, options=options)
        return self._opened

    @property
    def latest(self) -> int | None:
        """The step of the newest complete checkpoint; None without one."""
        manager = self._manager if self._folder.exists() else None
        return broadcast(manager.latest_step() if manager else None)

    def due(self, step: int) -> bool:
        """Whether the policy asks for a checkpoint after so many steps."""
        return self._policy is not None and step % self._policy.checkpoint_every == 0

    def save(self, step: int, state: Any) -> None:
        """Write a state unless its step is the latest; all processes call this."""
        if self.latest == step:
            return
        state = jax.tree.map(_whole, state)
        if self._manager:
            arrays = jax.tree.map(np.asarray, state)
            self._manager.save(step, args=ocp.args.StandardSave(arrays))
            _seal(self._folder / str(step))

    def restore(self, like: Any, mesh: Mesh) -> Any:
        """The newest checkpoint on every device of `mesh`; `like` has the same tree and shapes.

        One of `DAMAGED` says that it is damaged, or of another tree.
        """
        folder = self._folder / str(self.latest)
        _check(folder)
        arrays = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
        with ocp.StandardCheckpointer(multiprocessing_options=_without_waiting()) as checkpointer:
            return replicate(checkpointer.restore(folder / "default", arrays), mesh)

    def resume(self, state: Any, mesh: Mesh) -> Any:
        """The newest undamaged checkpoint; without one, `state`. Damaged ones are deleted.

        All processes call this, and all get the same.
        """
        while (step := self.latest) is not None:
            found = None
            try:
                with contextlib.suppress(*DAMAGED):
                    found = self.restore(state, mesh)
            except OSError as error:
                raise _unreadable(self._folder / str(step), error) from error
            if all(gather(found is not None)):
                return found
            if self._manager:
                self._manager.delete(step)
            barrier()
            older = self.latest
            goes_on = "begins anew" if older is None else f"goes on from step {older:,}"
            say(f"the checkpoint {self._folder / str(step)} is damaged; this training {goes_on}")
        return state

    def close(self, *, finished: bool = False) -> None:
        """Release the files; of a finished training only the last checkpoint stays."""
        manager = self._manager if finished and self._folder.exists() else self._opened
        if manager:
            for step in manager.all_steps()[:-1] if finished else ():
                manager.delete(step)
            manager.close()
            self._opened = None


def tree_digest(tree: Any) -> bytes:
    """A digest of 16 bytes that changes with any name, shape, type or value of a tree of arrays."""
    content = hash_of()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        content.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.digest()


def _seal(folder: Path) -> None:
    """Write the digests of a finished checkpoint's files into its folder."""
    write(folder / DIGESTS, digests(folder))


def _check(folder: Path) -> None:
    """Raise `ValueError` if a file of a checkpoint has changed; Orbax would read some changes.

    One without digests, of an earlier version or of a process that was killed just then, passes.
    """
    path = folder / DIGESTS
    if not path.exists():
        return
    try:
        known = read_settings(path)
    except Unusable:
        raise
    except InputError as error:  # a disk may recover
        raise OSError(str(error)) from error
    if changed := first_changed(folder, known):
        raise ValueError(f"{folder / changed} has changed")


def save_tree(folder: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of arrays as one checkpoint folder, with digests of its files.

    The calling process writes. Every device must hold a copy of the arrays.
    """
    with ocp.StandardCheckpointer(multiprocessing_options=_without_waiting()) as checkpointer:
        checkpointer.save(folder.absolute(), jax.tree.map(np.asarray, dict(tree)), force=True)
    _seal(folder)


def load_tree(folder: Path) -> dict[str, Any]:
    """Read the tree that `save_tree` wrote, as NumPy arrays; `Unusable` if files are damaged."""
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_without_waiting())
    try:
        _check(folder)
        with ocp.Checkpointer(handler, multiprocessing_options=_without_waiting()) as checkpointer:
            tree = checkpointer.metadata(folder.absolute()).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return checkpointer.restore(folder.absolute(), restore_args=as_numpy)
    except (*DAMAGED, AttributeError) as error:
        raise Unusable(
            f"the weights in {folder} are damaged or missing; repeat the command that wrote them"
        ) from error
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> InputError:
    """The error for files that may be intact: their disk, or their permissions, forbid to read."""
    return InputError(f"{folder} cannot be read: {error.strerror or error}")


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
