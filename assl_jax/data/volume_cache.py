"""Volume files to one int16 array, read in parallel; in memory, or cached as one file each."""

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from assl_jax.console import track
from assl_jax.data.dataset import intensity_of
from assl_jax.data.images import why_unreadable
from assl_jax.data.memory import afford, tell_cache
from assl_jax.data.names import shown
from assl_jax.data.settings import expanded
from assl_jax.data.volume_file import VolumeFormat, VolumeHeader, read_volume, volume_header
from assl_jax.errors import InputError, require
from assl_jax.files import digest, read_array, sweep, write_array, write_json
from assl_jax.ops.intensity import Intensity

VERSION = 2  # of the cache's arrays and statistics; files of another version are not read
WORKERS = min(8, os.cpu_count() or 1)  # each holds a whole volume in floating point

T = TypeVar("T")
Stamp = tuple[int, int]  # a file's size in bytes and its modification time in ns
Shape = tuple[int, ...]
HEADERS = "headers.json"  # of the volumes in a cache folder, by the names of their files


class Volumes(NamedTuple):
    """What was read.

    Attributes:
      images: `[n, z, y, x, 1]` int16 volumes.
      skipped: the reason for each file that could not be read.
      headers: what the header of each file tells.
    """

    images: "np.ndarray | VolumeStack"
    skipped: dict[str, str]
    headers: dict[str, VolumeHeader]


class Judged(NamedTuple):
    """What headers tell of some files; the fields are those of `Volumes`."""

    skipped: dict[str, str]
    headers: dict[str, VolumeHeader]


Judge = Callable[[list[str], str, Shape], Judged]  # of files, a good one and its shape


class VolumeStack:
    """A read-only int16 array `[n, *space, c]` with one `.npy` file per volume.

    Indexing with an integer, a slice or an array of integers reads only the files of these volumes.
    Slices after it, as in `stack[rows, ::4]`, read only a part of each volume.
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
        index, *inside = index if isinstance(index, tuple) else (index,)
        rows, part = np.arange(len(self))[index], tuple(inside)
        shape = np.broadcast_to(self.dtype.type(0), self.shape[1:])[part].shape
        out = np.empty((rows.size, *shape), self.dtype)
        for i, row in enumerate(rows.flat):
            file = self.files[row]
            try:
                out[i] = read_array(file, mmap=True)[part]
            except (OSError, ValueError, EOFError) as e:
                raise InputError(f"{file} has changed since the run began; run again") from e
        return out.reshape(*rows.shape, *shape)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a VolumeStack becomes an array by reading its files, which is a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, rows: Any) -> "VolumeStack":
        """The stack of `rows` (a slice or an array of integers); no file is read."""
        files = [self.files[i] for i in np.arange(len(self))[rows]]
        return VolumeStack(files, self.shape[1:])

    def intensity(self, low: float, high: float) -> Intensity:
        """`intensity_of` all volumes, kept in a file in their folder for the next call."""
        folder = self.files[0].parent
        key = digest([low, high, [file.name for file in self.files]], 20)
        entry = folder / f"statistics-{key}.json"
        try:
            known = json.loads(entry.read_text())
            mean, std = (tuple(float(x) for x in known[name]) for name in ("mean", "std"))
            if len(mean) == len(std) == self.shape[-1]:
                return Intensity(low=low, high=high, mean=mean, std=std)
        except (OSError, ValueError, TypeError, KeyError):
            pass
        stack: Any = self  # has all that `intensity_of` uses of an array
        found = intensity_of(stack, low=low, high=high)
        write_json(entry, {"mean": found.mean, "std": found.std})
        return found


def unusable(file: Path, reason: str) -> InputError:
    """The error for a file that `on_error="skip"` would leave out."""
    return InputError(
        f"{file} cannot be used: {reason}; repair it, remove it from the CSV or set "
        "data.on_error=skip"
    )


def read_volumes(
    root: Path,
    stamps: Mapping[str, Stamp],
    format: VolumeFormat,
    *,
    on_error: str,
    cache: str,
) -> Volumes:
    """Read the files in `stamps`, or open the volumes that an earlier call left in `cache`.

    The key of a cached volume is a digest of everything that determines it: `format`, and the
    file's path, size and modification time. A volume gets its final name when it is complete. So
    the finished volumes of a killed process are kept, and several processes may fill one cache.

    Args:
      root: folder that the files are relative to.
      stamps: size and time of each file, in the order of the result.
      format: how a file becomes an array.
      on_error: "raise", or "skip" to leave out files that cannot be read.
      cache: folder for the volumes; "" keeps them in memory.

    Raises:
      InputError: a file that cannot be read, volumes that differ in shape, a cache folder that
        cannot be written.
    """

    def read(file: str) -> np.ndarray | str:
        """The volume, or the reason why the file cannot be read."""
        try:
            return read_volume(root / file, format)
        except InputError:  # a package is missing
            raise
        except Exception as e:
            if on_error == "raise":
                raise unusable(root / file, why_unreadable(e)) from e
            return why_unreadable(e)

    def judge(file: str) -> VolumeHeader | str:
        """The header, or the reason why the file cannot be read."""
        try:
            return volume_header(root / file, format)
        except InputError:  # a package is missing
            raise
        except Exception as e:
            if on_error == "raise":
                raise unusable(root / file, why_unreadable(e)) from e
            return why_unreadable(e)

    def judged(files: list[str], first: str, expected: Shape) -> Judged:
        """The headers of files; all must have one shape."""
        found = Judged({}, {})
        with closing(_parallel(judge, files, "checking headers")) as results:
            for file, result in zip(files, results, strict=True):
                if isinstance(result, str):
                    found.skipped[file] = result
                    continue
                found.headers[file] = result
                if result.shape:
                    shape = (*result.shape, 1)
                    first, expected = first or file, expected or shape
                    _same_shape(root, file, shape, first, expected)
        return found

    if not cache:
        return _into_memory(root, list(stamps), judged, read)
    folder = expanded(cache, "data.cache") / digest([VERSION, format.settings], 20)
    source = str(root.resolve())
    entries = {f: folder / f"{digest([source, f, stamp], 20)}.npy" for f, stamp in stamps.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        return _into_cache(root, entries, format, judged, read)
    except OSError as e:
        raise InputError(
            f"data.cache={cache!r} cannot be written: {e.strerror or e}; name another folder"
        ) from e


def _into_memory(
    root: Path, files: list[str], judged: Judge, read: Callable[[str], np.ndarray | str]
) -> Volumes:
    images, kept = np.empty(0, np.int16), list[str]()
    skipped, headers = judged(files, "", ())
    files = [file for file in files if file not in skipped]
    with closing(_parallel(read, files, "reading volumes")) as results:
        for file, volume in zip(files, results, strict=True):
            if isinstance(volume, str):
                skipped[file] = volume
                continue
            if not kept:
                what = f"{len(files)} volumes of {volume.shape[:-1]} voxels"
                remedy = "set data.cache, fewer voxels (data.shape) or larger ones (data.spacing)"
                afford(len(files) * volume.nbytes, what, remedy)
                images = np.empty((len(files), *volume.shape), np.int16)
            _same_shape(root, file, volume.shape, (kept or [file])[0], images.shape[1:])
            images[len(kept)] = volume
            kept.append(file)
    _some(root, kept, skipped)
    return Volumes(images[: len(kept)], skipped, headers)


def _into_cache(
    root: Path,
    entries: dict[str, Path],
    format: VolumeFormat,
    judged: Judge,
    read: Callable[[str], np.ndarray | str],
) -> Volumes:
    shapes = {file: shape for file, entry in entries.items() if (shape := _stored(entry))}
    # An entry is damaged if it has another shape than `format`, or than most other entries.
    usual = Counter(shapes.values()).most_common(1)
    right: Shape = (*format.shape, 1) if format.shape else usual[0][0] if usual else ()
    shapes = {file: shape for file, shape in shapes.items() if shape == right}
    folder = next(iter(entries.values())).parent
    known = _headers(folder)
    new = [file for file in entries if file not in shapes]
    skipped, headers = judged(new, next(iter(shapes), ""), right)
    for file in shapes:  # of an earlier version, or after a lost file; the volume itself is here
        if entries[file].stem not in known:
            with contextlib.suppress(Exception):
                headers[file] = volume_header(root / file, format)
    missing = [file for file in entries if file not in shapes and file not in skipped]
    waiting = set(missing)

    def build(file: str) -> Shape | str:
        volume = read(file)
        if not isinstance(volume, str):
            _check_space(folder, len(waiting) * volume.nbytes)
            write_array(entries[file], volume)
        waiting.discard(file)
        return volume if isinstance(volume, str) else volume.shape

    with closing(_parallel(build, missing, "reading volumes")) as results:
        for file, result in zip(missing, results, strict=True):
            if isinstance(result, str):
                skipped[file] = result
                continue
            first = next(iter(shapes), file)
            _same_shape(root, file, result, first, shapes.get(first, result))
            shapes[file] = result
    _some(root, shapes, skipped)
    if read_now := [entries[file] for file in missing if file in shapes]:
        size = sum(entry.stat().st_size for entry in read_now)
        tell_cache(folder.parent, f"{len(read_now):,} volumes", size)
    if headers:  # again from the file: other processes may have added theirs
        known = _headers(folder) | {entries[f].stem: found for f, found in headers.items()}
        write_json(folder / HEADERS, {stem: found[1:] for stem, found in known.items()})
    (shape,) = set(shapes.values())
    return Volumes(
        VolumeStack([entries[file] for file in entries if file in shapes], shape),
        skipped,
        {file: known.get(entries[file].stem, VolumeHeader()) for file in shapes},
    )


def _headers(folder: Path) -> dict[str, VolumeHeader]:
    """The headers in a cache folder, without shapes; {} if they are missing or damaged."""
    try:
        found = json.loads((folder / HEADERS).read_text())
        return {
            str(stem): VolumeHeader((), str(code), tuple((str(a), str(b)) for a, b in unused))
            for stem, (code, unused) in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _some(root: Path, found: Sized, skipped: Mapping[str, str]) -> None:
    file, reason = next(iter(skipped.items()), ("", ""))
    require(bool(len(found)), f"{root}: none of its volumes can be read; {shown(file)}: {reason}")


def _same_shape(root: Path, file: str, shape: Shape, first: str, expected: Shape) -> None:
    require(
        shape == expected,
        f"{root / file} is {shape[:-1]} voxels, {root / first} is {expected[:-1]}: set data.shape "
        "to give all volumes one shape",
    )


def _stored(entry: Path) -> Shape | None:
    """The shape of the volume in `entry`; None if it is missing or not complete.

    Header and file size are checked; the voxels are not read.
    """
    try:
        volume = read_array(entry, mmap=True)
        if not isinstance(volume, np.memmap) or volume.dtype != np.int16 or volume.ndim != 4:
            return None
        return volume.shape if volume.offset + volume.nbytes == entry.stat().st_size else None
    except (OSError, ValueError, EOFError):
        return None


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    require(
        free > need + 2**20,
        f"data.cache={str(folder.parent)!r} has {free / 1e9:.1f} GB free and needs "
        f"{need / 1e9:.1f} GB",
    )


def _parallel(work: Callable[[str], T], files: list[str], doing: str) -> Generator[T]:
    """Yield `work` of every file, in order; if the caller stops early, no more work begins."""
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            yield from track(pool.map(work, files), doing, len(files))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
