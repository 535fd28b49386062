"""Memory before it is taken: what a header claims against its file, and what an array needs."""

import io
import os
from pathlib import Path

from assl_jax.errors import require

DENSEST = 1032  # bytes that one packed byte can stand for: of deflate, which nothing here exceeds


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
    """Refuse a header that claims more values than its file can hold.

    Args:
      claimed: bytes of all values.
      size: bytes of the file.
      packed: whether the file is compressed.
      free: bytes that are always granted, for methods that pack one colour into nothing.

    Raises:
      ValueError: it claims too much.
    """
    if claimed > max(free, size * (DENSEST if packed else 1)):
        raise ValueError(
            f"its header claims {amount(claimed)}, more than a file of {amount(size)} can hold; it "
            "is damaged or cut short: copy it again, or remove it"
        )


def check_memory(need: int, what: str, remedy: str) -> None:
    """Refuse an array that is larger than the memory of the computer.

    Args:
      need: its bytes.
      what: the array, for the message.
      remedy: the setting to change.

    Raises:
      InputError: it is too large.
    """
    there = memory()
    require(
        there is None or need <= there,
        f"{what} need {amount(need)}, the computer has {amount(there or 0)} of memory; {remedy}",
    )


def memory() -> int | None:
    """The memory of the computer in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no `sysconf`
        return None


def amount(size: int) -> str:
    """A number of bytes as one says it."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"
