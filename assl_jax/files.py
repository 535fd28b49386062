"""Files on disk: atomic writes, digests and locks.

Every write goes to a temporary file in the same folder, which then takes the final name in one
step. A reader sees the whole new file, the whole old one, or none.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

UNFINISHED = ".unfinished-"  # temporary names begin with this


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path; the file written there replaces `path` at the end of the block.

    The temporary file has the suffix of `path`. It is removed if the block raises.
    """
    handle, name = tempfile.mkstemp(path.suffix, UNFINISHED, path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a rename must not reach the disk before the content
        temporary.chmod(0o666 & ~_umask())  # mkstemp lets nobody else read it
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new temporary folder; it becomes `path` at the end of the block.

    An older folder of that name is removed first. The temporary one is removed if the block raises.
    """
    temporary = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text atomically; line ends stay as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` file atomically; arrays of Python objects are refused."""
    with atomic_file(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def read_array(path: Path, *, mmap: bool = False) -> np.ndarray:
    """Read a `.npy` file, or map it read-only; nothing is unpickled."""
    return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of a hash that changes with any part of a JSON value.

    The order of a mapping's keys does not matter; tuples count as lists.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def try_lock(path: Path) -> filelock.BaseFileLock | None:
    """Lock `path` among processes, or give None where another process has locked it.

    The operating system releases the lock when its process ends. The caller releases it earlier
    with `release()`, or by using it in a `with` block.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    return lock


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
