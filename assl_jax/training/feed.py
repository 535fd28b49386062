"""How examples reach the compiled step: gathered on the device, or on the host."""

import collections
import copy
import os
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from assl_jax.errors import choice
from assl_jax.training.processes import gather
from assl_jax.training.sharding import replicate, split_batch, split_rows

PLACEMENTS = ("auto", "device", "host")
AHEAD = 2  # batches that are gathered while the device works
SHARE = 0.5  # of the free memory that the images may take
ASSUMED_FREE = 2 * 2**30  # bytes of memory, if the system does not say how much is free


class Examples(NamedTuple):
    """A batch as it is passed to a compiled function, which calls `take`.

    Attributes:
      arrays: a tree of `[n, ...]` arrays.
      indices: `[b]` rows of the batch; None if `arrays` is the batch.
    """

    arrays: Any
    indices: jax.Array | None

    def take(self) -> Any:
        """The batch `[b, ...]`, split over the devices."""
        if self.indices is None:
            return self.arrays
        return jax.tree.map(lambda a: a[self.indices], self.arrays)


class Feed:
    """Examples by row number; both placements give the same batches.

    With the arrays on the device, a batch costs a few hundred bytes of traffic. With the arrays on
    the host (in a memory-mapped cache, for example), a thread reads the rows and sends them ahead
    of time. Each process reads only the rows for its own devices.

    Attributes:
      arrays: a tree of `[n, ...]` arrays, on every device or on the host.
      mesh: the devices.
      on_device: whether the arrays are on the devices.
      rows: numbers of the examples to train on; all by default.
    """

    def __init__(self, arrays: Any, mesh: Mesh, placement: str = "auto") -> None:
        """Place `arrays` on the devices or leave them on the host.

        Args:
          arrays: anything with `shape`, `dtype` and `nbytes` that gives rows by an index array.
          mesh: the devices.
          placement: "device", "host" or "auto". "auto" means the device if the arrays take at most
            half of its free memory in every process.

        Raises:
          InputError: another placement.
        """
        choice(placement, PLACEMENTS, "images_on")
        self.mesh = mesh
        self.on_device = placement == "device" or (placement == "auto" and _fits(arrays, mesh))
        self.arrays = self._put(arrays)
        self.rows = np.arange(jax.tree.leaves(arrays)[0].shape[0])

    def select(self, rows: np.ndarray, *arrays: Any) -> "Feed":
        """A feed to train on some of these examples.

        Args:
          rows: their numbers.
          arrays: more arrays of the length of this feed; examples become tuples.
        """
        feed = copy.copy(self)
        feed.rows = rows
        if arrays:
            feed.arrays = (self.arrays, *map(self._put, arrays))
        return feed

    def batches(self, rows: Iterable[np.ndarray]) -> Generator[Examples]:
        """One batch for every index array `[b]`; b divides over the devices."""
        if self.on_device:
            return (Examples(self.arrays, split_batch(r, self.mesh)) for r in rows)
        return _ahead(self._gather, rows)

    def _put(self, arrays: Any) -> Any:
        if not self.on_device:
            return arrays
        return replicate(jax.tree.map(np.asarray, arrays), self.mesh)

    def _gather(self, rows: np.ndarray) -> Examples:
        def read(a: Any) -> jax.Array:
            shape = (len(rows), *a.shape[1:])
            return split_rows(shape, lambda shard: np.asarray(a[rows[shard]]), self.mesh)

        return Examples(jax.tree.map(read, self.arrays), None)


def _ahead(work: Any, items: Iterable[Any]) -> Generator[Any]:
    """`work(item)` of every item, in order; a thread computes the next ones ahead of time."""
    waiting: collections.deque[Future] = collections.deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append(thread.submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _fits(arrays: Any, mesh: Mesh) -> bool:
    need = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
    devices = mesh.local_devices
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        fits = need <= SHARE * (stats["bytes_limit"] - stats["bytes_in_use"])
    else:
        # The devices of a CPU share the machine's memory, and each holds a copy.
        fits = need * len(devices) <= SHARE * _free_memory()
    return all(gather(fits))


def _free_memory() -> int:
    """Bytes of the machine's memory that are free; `ASSUMED_FREE` on macOS and Windows."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return ASSUMED_FREE
