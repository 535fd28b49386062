"""NIfTI files into one int16 array, read in parallel; in memory, or cached as a file per volume."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int16

from assl_jax.data.dataset import intensity_of
from assl_jax.data.nifti import VolumeFormat, read_volume
from assl_jax.errors import InputError, require
from assl_jax.ops.intensity import Intensity

VERSION = 1  # of the arrays and statistics in the cache; another one is built anew
WORKERS = min(8, os.cpu_count() or 1)  # each holds a whole volume in floating point
PLAIN_SECONDS = 15.0
STALE_SECONDS = 24 * 3600.0
UNFINISHED = "unfinished-"

T = TypeVar("T")
Stamp = tuple[int, int]  # a file's size in bytes and its modification time in ns
Shape = tuple[int, ...]


class VolumeStack:
    """A read-only array `[n, *space, c]` of int16 that lies in one `.npy` file per volume.

    Indexing with an integer, a slice or an array of integers reads these volumes and no others.
    """

    dtype = np.dtype(np.int16)

    def __init__(self, files: Sequence[Path], volume: Shape) -> None:
        """`files` hold one array of the shape `volume` each."""
        self.files = tuple(files)
        self.shape = (len(self.files), *volume)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self))[index]
        out = np.empty((rows.size, *self.shape[1:]), self.dtype)
        for i, row in enumerate(rows.flat):
            file = self.files[row]
            try:
                out[i] = np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as e:
                raise InputError(f"{file} has changed since the run began; run again") from e
        return out.reshape(*rows.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a VolumeStack becomes an array by reading its files: a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, rows: Any) -> "VolumeStack":
        """The stack of `rows` (a slice or an array of integers); nothing is read."""
        files = [self.files[i] for i in np.arange(len(self))[rows]]
        return VolumeStack(files, self.shape[1:])

    def intensity(self, low: float, high: float) -> Intensity:
        """`intensity_of` all volumes; kept beside them, so that they are read once."""
        folder = self.files[0].parent
        entry = folder / f"statistics-{digest(low, high, [f.name for f in self.files])}.json"
        try:
            known = json.loads(entry.read_text())
            mean, std = (tuple(float(x) for x in known[key]) for key in ("mean", "std"))
            if len(mean) == len(std) == self.shape[-1]:
                return Intensity(low=low, high=high, mean=mean, std=std)
        except (OSError, ValueError, TypeError, KeyError):
            pass
        stack: Any = self  # as much of an array as is looked at
        found = intensity_of(stack, low=low, high=high)
        text = json.dumps({"mean": found.mean, "std": found.std})
        _write(entry, lambda file: file.write(text.encode()))
        return found


def digest(*parts: Any) -> str:
    """A short name for JSON-able `parts`."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def unusable(file: Path, reason: str) -> InputError:
    """The error that `on_error="raise"` makes of a file that "skip" would leave out."""
    return InputError(
        f"{file} cannot be used: {reason}; mend it, take it out of the CSV or set "
        "data.on_error=skip"
    )


def read_volumes(
    root: Path,
    stamps: Mapping[str, Stamp],
    format: VolumeFormat,
    *,
    on_error: str,
    cache: str,
) -> tuple[Int16[np.ndarray, "n z y x 1"] | VolumeStack, dict[str, str]]:
    """Read the files in `stamps`, or open what an earlier call has left of them in `cache`.

    A volume in the cache is keyed by everything that determines it: `format`, and its file's path,
    size and modification time. It gets its name when it is complete, so that what a killed process
    had finished is kept, and several processes may fill one cache.

    Args:
      root: folder that the files are relative to.
      stamps: size and time of each file, in the order of the result.
      format: what a file becomes.
      on_error: "raise", or "skip" to leave out what cannot be read.
      cache: folder for the volumes, "" to keep them in memory.

    Returns:
      The volumes that could be read, and the skipped files with the reason of each.

    Raises:
      InputError: a file that cannot be read, volumes that differ in shape, a useless cache folder.
    """

    def read(file: str) -> np.ndarray | str:
        """The volume, or the reason why there is none."""
        try:
            return read_volume(root / file, format)
        except Exception as e:
            if on_error == "raise":
                raise unusable(root / file, _reason(e)) from e
            return _reason(e)

    if not cache:
        return _into_memory(root, list(stamps), read)
    folder = Path(cache).expanduser() / digest(VERSION, dataclasses.asdict(format))
    place = str(root.resolve())
    entries = {f: folder / f"{digest(place, f, *stamp)}.npy" for f, stamp in stamps.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        return _into_cache(root, entries, format, read)
    except OSError as e:
        raise InputError(f"data.cache={cache!r} cannot be written: {e.strerror or e}") from e


def _into_memory(
    root: Path, files: list[str], read: Callable[[str], np.ndarray | str]
) -> tuple[np.ndarray, dict[str, str]]:
    images, kept, skipped = np.empty(0, np.int16), list[str](), dict[str, str]()
    with closing(_parallel(read, files)) as results:
        for file, volume in zip(files, results, strict=True):
            if isinstance(volume, str):
                skipped[file] = volume
                continue
            if not kept:
                images = np.empty((len(files), *volume.shape), np.int16)
            _same_shape(root, file, volume.shape, (kept or [file])[0], images.shape[1:])
            images[len(kept)] = volume
            kept.append(file)
    require(bool(kept), f"{root}: none of its volumes can be read")
    return images[: len(kept)], skipped


def _into_cache(
    root: Path,
    entries: dict[str, Path],
    format: VolumeFormat,
    read: Callable[[str], np.ndarray | str],
) -> tuple[VolumeStack, dict[str, str]]:
    shapes = {file: shape for file, entry in entries.items() if (shape := _stored(entry))}
    # An entry of another shape than asked for, or than the others have, is damaged.
    usual = Counter(shapes.values()).most_common(1)
    right: Shape = (*format.shape, 1) if format.shape else usual[0][0] if usual else ()
    shapes = {file: shape for file, shape in shapes.items() if shape == right}
    missing = [file for file in entries if file not in shapes]
    waiting = set(missing)

    def build(file: str) -> Shape | str:
        volume = read(file)
        if not isinstance(volume, str):
            _check_space(entries[file].parent, len(waiting) * volume.nbytes)
            _write(entries[file], lambda f: np.lib.format.write_array(f, volume))
        waiting.discard(file)
        return volume if isinstance(volume, str) else volume.shape

    skipped = {}
    with closing(_parallel(build, missing)) as results:
        for file, result in zip(missing, results, strict=True):
            if isinstance(result, str):
                skipped[file] = result
                continue
            first = next(iter(shapes), file)
            _same_shape(root, file, result, first, shapes.get(first, result))
            shapes[file] = result
    require(bool(shapes), f"{root}: none of its volumes can be read")
    (shape,) = set(shapes.values())
    return VolumeStack([entries[file] for file in entries if file in shapes], shape), skipped


def _same_shape(root: Path, file: str, shape: Shape, first: str, expected: Shape) -> None:
    require(
        shape == expected,
        f"{root / file} is {shape[:-1]} voxels, {root / first} is {expected[:-1]}: set data.shape "
        "to give all volumes one shape",
    )


def _stored(entry: Path) -> Shape | None:
    """The shape of the complete volume in `entry`, by its header and the file's size, or None."""
    try:
        volume = np.load(entry, mmap_mode="r", allow_pickle=False)
        if not isinstance(volume, np.memmap) or volume.dtype != np.int16 or volume.ndim != 4:
            return None
        return volume.shape if volume.offset + volume.nbytes == entry.stat().st_size else None
    except (OSError, ValueError, EOFError):
        return None


def _write(entry: Path, write: Callable[[Any], Any]) -> None:
    """Give `entry` its content in one step."""
    scratch = entry.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        with scratch.open("xb") as file:
            write(file)
        scratch.replace(entry)
    finally:
        scratch.unlink(missing_ok=True)


def _sweep(cache: Path) -> None:
    """Remove what killed builds have left; one that is still at work touches its files."""
    for scratch in cache.glob(f"*/{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if scratch.is_file() and time.time() - scratch.stat().st_mtime > STALE_SECONDS:
                scratch.unlink()


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    require(
        free > need + 2**20,
        f"data.cache={str(folder.parent)!r} has {free / 1e9:.1f} GB free and needs "
        f"{need / 1e9:.1f} GB",
    )


def _parallel(work: Callable[[str], T], files: list[str]) -> Generator[T]:
    """`work` of every file, in order; what has not begun is dropped where the reader stops."""
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            yield from _shown(pool.map(work, files), len(files))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _shown(results: Iterable[T], total: int) -> Iterator[T]:
    """`results`, with a bar on standard error where that is a terminal, plain lines elsewhere."""
    if total and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(
            results, f"reading {total} volumes", total=total, console=Console(stderr=True)
        )
        return
    spoken = time.monotonic()
    for done, result in enumerate(results, 1):
        if done == total or time.monotonic() - spoken > PLAIN_SECONDS:
            spoken = time.monotonic()
            print(f"reading volumes: {done}/{total}", file=sys.stderr, flush=True)
        yield result


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)  # without the path, which is told anyway
    return " ".join(text.split()) or type(error).__name__
