"""Decoded files in a cache on disk: one array for all files of a data set, memory-mapped.

An entry is a folder that gets its name when it is complete. What a stopped process has decoded, and
what other entries with the same settings hold, is copied and not decoded again.
"""

import itertools
import os
import shutil
import uuid
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from assl_jax import records
from assl_jax.console import say
from assl_jax.data.dataset import DIGEST, image_digest
from assl_jax.data.decoding import Decoded, Header, Job, Kind, Rows, Shape, decode, judged, parallel
from assl_jax.data.settings import expanded
from assl_jax.errors import InputError, require
from assl_jax.files import (
    LOCK,
    UNFINISHED,
    content_digest,
    digest,
    digests,
    file_digest,
    first_changed,
    read_array,
    sweep,
    waiting_lock,
)

VERSION = 6  # of the cache's entries; entries of another version are not read
ENTRY = "entry.json"  # beside the arrays of `Rows`
CHECKED = 2**30  # bytes of images whose content is checked at every start
UNREADABLE = (OSError, ValueError, EOFError)
STAMPED = 10_000  # files per job of the thread pool, where only sizes and times are read


def read_files(
    root: Path, files: Sequence[str], kind: Kind, format: Any, *, on_error: str, cache: str = ""
) -> Decoded:
    """Decode files below `root`, in their order, or map what an earlier call left in `cache`.

    A cache entry's key is a digest of everything that determines the arrays: the format, the
    versions of the packages that read files, and the path, size and modification time of each file,
    in order. Without a cache folder nothing is kept.
    """
    job = Job(root, files, kind, format, on_error)
    if not cache:
        return decode(job, *judged(job))
    stamps = _stamps(job)
    settings = [VERSION, str(root.resolve()), kind.noun, format.settings, on_error]
    names = "\0".join(files).encode(errors="surrogateescape")
    listed = [content_digest(part) for part in (names, stamps.tobytes())]
    key = digest([*settings, *map(_version, kind.readers)], 10), digest(listed, 20)
    entry = expanded(cache, "data.cache") / "-".join(key)
    return _cached(entry) or _built(entry, job, stamps)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _stamps(job: Job) -> Int64[np.ndarray, "n 2"]:
    """Size and time of each file; -1 for one that cannot be read, which decoding finds too."""

    def read(start: int) -> list[tuple[int, int]]:
        found = []
        for file in job.files[start : start + STAMPED]:
            try:
                size, time = job.kind.stamp(os.path.join(job.root, file))
                found.append((size, time % 2**63))  # a sum over many files
            except InputError:  # a package is missing
                raise
            except (OSError, ValueError):
                found.append((-1, -1))
        return found

    blocks = parallel(read, range(0, len(job.files), STAMPED), os.cpu_count() or 1)
    return np.array(list(itertools.chain(*blocks)), np.int64).reshape(-1, 2)


def _rows(folder: Path) -> Rows:
    """The arrays in a folder; of `UNREADABLE` is what is raised if some are missing or damaged."""
    return Rows(*(read_array(folder / f"{name}.npy", mmap=True) for name in Rows._fields))


def _cached(entry: Path) -> Decoded | None:
    """The content of a cache entry; None if it is missing or damaged."""
    try:
        known = records.read_settings(entry / ENTRY)
        if first_changed(entry, known["files"]):
            return None
        rows, n = _rows(entry), known["rows"]
        headers = {file: Header(*each) for file, each in known["headers"].items()}
        small = np.array(rows.digests[:n]), np.array(rows.sums[:n])
        return Decoded(rows.images[:n], known["skipped"], *small, headers)
    except (*UNREADABLE, KeyError):
        return None


def _built(entry: Path, job: Job, stamps: np.ndarray) -> Decoded:
    """Decode files into a new entry; the first of several processes does it for all."""
    cache, noun = str(entry.parent), job.kind.noun
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(entry.with_name(f".{entry.name}{LOCK}")):
            if found := _cached(entry):
                return found
            if entry.exists():
                say(f"{entry} is damaged; what is not whole in it is read again")
            sweep(entry.parent)
            _write(entry, job, stamps)
            found = _cached(entry)
    except OSError as e:
        raise InputError(
            f"data.cache={cache!r} cannot be written: {e.strerror or e}; name another folder"
        ) from e
    if found is None:
        raise InputError(f"data.cache={cache!r}: {entry.name} was removed; run again")
    say(
        f"{len(found.images):,} {noun}s are kept in {cache}/ ({found.images.nbytes / 1e6:,.1f} MB) "
        "for the next run; it may be deleted, and --config.data.cache names another folder, or '' "
        "for none"
    )
    return found


def _write(entry: Path, job: Job, stamps: np.ndarray) -> None:
    """Fill a temporary folder, which then takes the name of the entry.

    The folder stays if that fails: the next run copies its rows.
    """
    skipped, headers = judged(job)
    listed = zip(job.files, stamps.tolist(), strict=True)
    stamp_of = {file: content_digest(repr((file, *each)).encode()) for file, each in listed}
    folder = entry.with_name(f"{UNFINISHED}{entry.name}-{uuid.uuid4().hex}")

    def make(job: Job, files: Sequence[str], shape: Shape) -> Rows:
        rows = _on_disk(folder, len(files), shape, job.kind.dtype)
        stamps = b"".join(bytes.fromhex(stamp_of[file]) for file in files)
        rows.stamps[:] = np.frombuffer(stamps, np.uint8).reshape(-1, DIGEST)
        _copy_known(rows, job.format.limits, folder, entry)
        return rows

    decoded = decode(job, skipped, headers, make, lambda: os.utime(folder))  # it is in use
    images: Any = decoded.images
    images.flush()
    small = [f"{name}.npy" for name in Rows._fields if name != "images"]
    known = {name: file_digest(folder / name) for name in small}
    if decoded.images.nbytes <= CHECKED:
        known = digests(folder)
    record = {
        "rows": len(decoded.images),
        "skipped": decoded.skipped,
        "headers": {f: each for f, each in headers.items() if f not in decoded.skipped},
        "files": known,
    }
    del decoded, images  # closes the memory maps: Windows does not rename open files
    records.write(folder / ENTRY, record)
    shutil.rmtree(entry, ignore_errors=True)
    folder.rename(entry)


def _on_disk(folder: Path, n: int, shape: Shape, dtype: type) -> Rows:
    """Rows in the files of a new folder."""
    need = n * int(np.prod(shape)) * np.dtype(dtype).itemsize
    # Check the free space first: writing to a memory map on a full disk kills the process.
    free = shutil.disk_usage(folder.parent).free
    require(
        free > need + 2**20,
        f"data.cache={str(folder.parent)!r} has {free / 1e9:.1f} GB free and needs "
        f"{need / 1e9:.1f} GB",
    )
    folder.mkdir()

    def make(name: str, shape: Shape, dtype: type) -> np.ndarray:
        file = folder / f"{name}.npy"
        return np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)

    return Rows.empty(n, shape, make, dtype)


def _copy_known(rows: Rows, limits: tuple[float, float], folder: Path, entry: Path) -> None:
    """Copy the rows that other entries with the same settings have, and what was begun of it."""
    row_of = {bytes(stamp): row for row, stamp in enumerate(rows.stamps)}
    settings = entry.name.partition("-")[0]
    begun = set(entry.parent.glob(f"{UNFINISHED}{settings}-*")) - {folder}
    for other in {*entry.parent.glob(f"{settings}-*"), *begun}:
        try:
            there = _rows(other)
        except UNREADABLE:
            continue
        if there.images.shape[1:] == rows.images.shape[1:]:
            for old, stamp in enumerate(map(bytes, there.stamps)):
                row = row_of.get(stamp)
                if row is not None and image_digest(there.images[old]) == bytes(there.digests[old]):
                    rows.put(row, there.images[old], limits)
                    del row_of[stamp]
        del there  # closes the memory maps
    for other in begun:
        if other.name.startswith(f"{UNFINISHED}{entry.name}-"):
            shutil.rmtree(other, ignore_errors=True)
