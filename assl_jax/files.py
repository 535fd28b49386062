"""Files on disk: atomic writes, digests and locks.

Every write goes to a temporary file in the same folder, which then takes the final name in one
step. A reader sees the whole new file, the whole old one, or none. Only files are replaced: devices
and pipes are written to, and a symbolic link leads to the file that is replaced.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np

# What happens to a program's files that is not its fault. Libraries quote the first line in errors
# of their own; the second says something only with the name of the file.
DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}
FILE_FAULTS = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM}
UNFINISHED = ".unfinished-"  # temporary names begin with this
STALE_SECONDS = 24 * 3600.0  # after which nobody is still writing a temporary file
LOCK = ".lock"  # name of a lock inside a folder
ATTEMPTS = 10  # to replace a folder that other writers replace at the same time


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path; the file written there replaces `path` at the end of the block.

    It has the suffix of `path`, and is removed if the block raises. A symbolic link stays, and its
    target is replaced. A device or a pipe stays, and receives the content.
    """
    if is_stream(path):
        with _into_stream(path) as temporary:
            yield temporary
        return
    target = target_of(path)
    temporary = _temporary(target)
    try:
        temporary.open("xb").close()
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a rename must not reach the disk before the content
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)  # what was private stays so
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a device, a pipe or a socket is there, and neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def target_of(path: Path) -> Path:
    """The file that a symbolic link leads to, which need not be there; `path` for anything else."""
    if not path.is_symlink():
        return path
    with contextlib.suppress(FileNotFoundError):
        return Path(os.path.realpath(path, strict=True))
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def _into_stream(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / f"content{path.suffix}"
        temporary.touch()
        yield temporary
        # Opened without O_CREAT, which a pipe of another user in a public folder refuses.
        with temporary.open("rb") as content, open(os.open(path, os.O_WRONLY), "wb") as stream:
            shutil.copyfileobj(content, stream)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new temporary folder; it becomes `path`, in place of an older one, after the block.

    The temporary folder is removed if the block raises.
    """
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        for attempt in range(1, ATTEMPTS + 1):
            shutil.rmtree(path, ignore_errors=True)
            try:
                temporary.rename(path)
                return
            except OSError as error:
                exists = error.errno in (errno.EEXIST, errno.ENOTEMPTY)
                if not exists or attempt == ATTEMPTS:
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    # `tempfile` would make it unreadable for other users; this way the umask decides.
    return path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}{path.suffix}")


def sweep(folder: Path, *, seconds: float = STALE_SECONDS) -> None:
    """Remove what killed processes have left of their writes, in a folder and below.

    A running process has written in the last `seconds`; 0 is for a folder that no other process
    writes to.
    """
    before = time.time() - seconds
    for path in folder.rglob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime <= before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


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
    # Given a path, NumPy would add `.npy` to another suffix.
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of a `.npz` file; arrays of Python objects are refused."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **dict(arrays))
    return content.getvalue()


def read_array(path: Path, *, mmap: bool = False) -> np.ndarray:
    """Read a `.npy` file, or map it read-only; nothing is unpickled."""
    return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of a hash that changes with any part of a JSON value.

    The order of a mapping's keys does not matter; tuples count as lists.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def digests(folder: Path, without: Collection[str] = ()) -> dict[str, str]:
    """A digest of the content of every file in a folder, by its path inside it.

    Hidden files are left out: locks, unfinished files, a system's own; and the folders `without`.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] not in without:
            found[inside.as_posix()] = file_digest(path)
    return found


def first_changed(folder: Path, known: Mapping[str, str]) -> str | None:
    """The first file that is missing, or whose content is not that of its digest; None if all fit.

    `known` is as from `digests`; other files are not looked at. An `OSError` says that a file
    cannot be read now, and nothing about its content.
    """
    for name, expected in known.items():
        try:
            if file_digest(folder / name) != expected:
                return name
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return name
    return None


def content_digest(content: bytes) -> str:
    """A digest of some bytes, as `digests` has of files."""
    return hash_of(content).hexdigest()


def file_digest(path: Path) -> str:
    """A digest of the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, hash_of).hexdigest()


def hash_of(content: bytes | memoryview = b"") -> Any:
    """The hash of all digests of content, 16 bytes, in the form of `hashlib`."""
    return hashlib.blake2b(content, digest_size=16)


def disk_fault(error: Exception) -> str | None:
    """What an error says about the disk, with the file if it is known; None for any other error.

    It is an `OSError`, or the error of a library that quotes one.
    """
    if isinstance(error, OSError) and error.errno is not None:
        named, says = error.filename2 or error.filename, os.strerror(error.errno)
        if error.errno in DISK_FAULTS or (named and error.errno in FILE_FAULTS):
            return f"{named}: {says}" if named else says
    return next((says for says in map(os.strerror, DISK_FAULTS) if says in str(error)), None)


def try_lock(path: Path) -> filelock.BaseFileLock | None:
    """Lock `path` among processes; None if another process holds the lock.

    The operating system releases the lock when its process ends. The caller releases it earlier
    with `release()`. (A `with` block would lock it a second time.)
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    return lock


def waiting_lock(path: Path) -> filelock.BaseFileLock:
    """A block that locks `path` among processes, and waits for the one that holds the lock."""
    return filelock.FileLock(path)
