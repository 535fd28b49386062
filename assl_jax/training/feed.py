"""How examples reach the compiled step: by index from the device, or gathered on the host."""

import collections
import os
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from assl_jax.errors import lookup
from assl_jax.training.processes import gather
from assl_jax.training.sharding import replicate, split_batch, split_rows

PLACEMENTS = ("auto", "device", "host")
AHEAD = 2  # batches that are gathered while the device works
SHARE = 0.5  # of the free memory that images may take


class Examples(NamedTuple):
    """A batch on its way into a compiled function, which calls `take`.

    Attributes:
      arrays: a tree of `[n, ...]` arrays.
      indices: `[b]` rows of the batch, or None where `arrays` are the batch already.
    """

    arrays: Any
    indices: jax.Array | None

    def take(self) -> Any:
        """The batch `[b, ...]`, split over the devices."""
        if self.indices is None:
            return self.arrays
        return jax.tree.map(lambda a: a[self.indices], self.arrays)


class Feed:
    """Examples by row number; both places give the same batches.

    On the device a batch costs a few hundred bytes of traffic. On the host, rows are read (from a
    memory-mapped cache, say) and sent ahead of time by a thread; each process reads those of its
    own devices alone.

    Attributes:
      arrays: a tree of `[n, ...]` arrays, on every device or on the host.
      mesh: the devices.
      on_device: where the arrays are.
    """

    def __init__(self, arrays: Any, mesh: Mesh, placement: str = "auto") -> None:
        """Put `arrays` where they fit.

        Args:
          arrays: anything that has a shape and a type and gives rows by an array of indices.
          mesh: the devices.
          placement: "device", "host", or "auto": on the device where the arrays take at most half of
            its free memory, in every process.

        Raises:
          InputError: another placement.
        """
        lookup(dict.fromkeys(PLACEMENTS), placement, "images_on")
        self.mesh = mesh
        self.on_device = placement == "device" or (placement == "auto" and _fits(arrays, mesh))
        self.arrays = self._put(arrays)

    def with_arrays(self, *arrays: Any) -> "Feed":
        """A feed of these examples together with others of the same length."""
        feed = object.__new__(Feed)
        feed.mesh, feed.on_device = self.mesh, self.on_device
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
            return split_rows(shape, lambda part: np.asarray(a[rows[part]]), self.mesh)

        return Examples(jax.tree.map(read, self.arrays), None)


def _ahead(work: Any, items: Iterable[Any]) -> Generator[Any]:
    """`work` of every item, in order, done by a thread while the results before are used."""
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
        # A CPU's devices share the machine's memory, and each has its copy.
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        fits = need * len(devices) <= SHARE * free
    return all(gather(fits))
