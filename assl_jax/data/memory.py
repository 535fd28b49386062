"""What a header claims or a setting asks for, compared with what is there before it is taken."""

import contextlib
import io
import os
from pathlib import Path

from assl_jax.errors import require

DENSEST = 1032  # bytes that one packed byte can stand for: of deflate, which nothing here exceeds
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, in bytes or "max"


class Within(io.BufferedReader):
    """A file of which no more is asked than it has: a damaged length may claim gigabytes."""

    def __init__(self, path: Path) -> None:
        raw = io.FileIO(path)
        self._end = os.fstat(raw.fileno()).st_size
        super().__init__(raw)

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._end - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def check_claim(claimed: int, size: int, *, packed: bool, free: int = 0) -> None:
    """Raise `ValueError` if a header claims more bytes of values than its file of `size` can hold.

    `free` bytes are always granted, for methods that pack one colour into nothing.
    """
    if claimed > max(free, size * (DENSEST if packed else 1)):
        raise ValueError(
            f"its header claims {amount(claimed)}, more than a file of {amount(size)} can hold; it "
            "is damaged or cut short: copy it again, or remove it"
        )


def amount(size: int) -> str:
    """A number of bytes as one says it."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"


def afford(need: float, what: str, remedy: str) -> None:
    """Refuse more bytes than this machine's memory has.

    `what` needs them, such as "data.side=8192 for 500 images", and `remedy` says what to do.
    """
    there = memory()
    require(
        need <= there,
        f"{what} needs {need / 1e9:,.1f} GB of memory, and this machine has {there / 1e9:,.1f} GB; "
        f"{remedy}",
    )


def memory() -> float:
    """The machine's memory, or this container's, in bytes; infinite where it is not known."""
    found = float("inf")
    with contextlib.suppress(ValueError, OSError, AttributeError):  # Windows has no `sysconf`
        found = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):
        found = min(found, float(LIMIT.read_text()))
    return found
