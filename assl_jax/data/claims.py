"""What a header claims, compared with its file before memory is taken."""

import io
import os
from pathlib import Path

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
