"""The way from files to one array of integers, which images and volumes share.

Headers are judged before anything is decoded, where a format has them. Files are decoded in
parallel. `Kind` holds what differs between images and volumes.
"""

import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from assl_jax.console import Progress, track
from assl_jax.data.dataset import DIGEST, image_digest, value_sums
from assl_jax.data.memory import afford
from assl_jax.data.names import shown
from assl_jax.errors import InputError, require

BLOCK = 64, 2**22  # at most so many files, or bytes of arrays, per job of the thread pool

T = TypeVar("T")
Shape = tuple[int, ...]


class Header(NamedTuple):
    """What is known of a file before it is decoded."""

    shape: Shape = ()  # of the array that it will give; () if that is not known
    orientation: str = ""  # a code, see `orientation.Grid`; "" if it is not known
    unused: tuple[tuple[str, str], ...] = ()  # see `orientation.Grid`


class Kind(NamedTuple):
    """Images or volumes."""

    noun: str  # what messages call a file
    # A file, and a format with `settings` and `limits`, to `[*space, c]` integers of `dtype`.
    decode: Callable[[Path, Any], np.ndarray]
    dtype: type[np.integer]
    header: Callable[[Path, Any], Header] | None  # what a file's header tells
    stamp: Callable[[str], tuple[int, int]]  # size and last change of all files of an image
    size: Callable[[Shape], str]  # an array's shape in words
    fit: str  # what makes all files agree in size
    less: str  # what makes the arrays smaller
    readers: tuple[str, ...]  # packages whose versions may change the arrays
    workers: int  # how many files are decoded at once


class Decoded(NamedTuple):
    """What was read. The images are in memory, or memory-mapped read-only."""

    images: Shaped[np.ndarray, "n *space c"]
    skipped: dict[str, str]  # the reason for each file that could not be decoded
    digests: UInt8[np.ndarray, "n 16"]
    sums: Int64[np.ndarray, "n 2 c"]  # see `Rows`
    headers: dict[str, Header]  # if headers were read


class Rows(NamedTuple):
    """Arrays with one row for each file. A row counts if its digest is that of its image.

    `sums` are of the values of each image and of their squares, within the format's limits. They
    are made while files are decoded: reading a million images again would take a minute.
    """

    images: np.ndarray
    digests: np.ndarray  # the `image_digest` of each image
    sums: np.ndarray
    stamps: np.ndarray  # what changes with a file's path, size and time

    @classmethod
    def empty(cls, n: int, shape: Shape, make: Callable[..., np.ndarray], dtype: type) -> "Rows":
        """New rows for `n` images of a shape; `make(name, shape, dtype)` makes an array."""
        return cls(
            make("images", (n, *shape), dtype),
            make("digests", (n, DIGEST), np.uint8),
            make("sums", (n, 2, shape[-1]), np.int64),
            make("stamps", (n, DIGEST), np.uint8),
        )

    def put(self, row: int, image: np.ndarray, limits: tuple[float, float]) -> None:
        """Write one image."""
        self.images[row] = image
        self.sums[row] = value_sums(image[None], low=limits[0], high=limits[1])[0]
        self.digests[row] = np.frombuffer(image_digest(image), np.uint8)


class Job(NamedTuple):
    """Files to decode, see `read_files`."""

    root: Path
    files: Sequence[str]
    kind: Kind
    format: Any
    on_error: str

    def attempt(self, work: Callable[[Path, Any], T], file: str) -> T | str:
        """What `work` gives for a file, or the reason to skip it, if `on_error` allows that."""
        try:
            return work(self.root / file, self.format)
        except InputError:
            raise
        except Exception as error:  # Pillow, nibabel, pydicom and gzip raise nearly anything
            reason = why_unreadable(error)
            if self.on_error == "raise":
                raise unusable(self.root / file, reason) from error
            return reason

    def same_shape(self, file: str, shape: Shape, first: str, expected: Shape) -> None:
        """Raise `InputError` unless a file has the shape that the first one has."""
        here, there = shown(str(self.root / file)), shown(str(self.root / first))
        require(
            shape[-1] == expected[-1],
            f"{here} has {shape[-1]} channels, {there} has {expected[-1]}: set data.channels=1 "
            "or 3 to convert them all",
        )
        require(
            shape == expected,
            f"{here} is {self.kind.size(shape)}, {there} is {self.kind.size(expected)}: "
            f"{self.kind.fit}",
        )


def unusable(file: Path, reason: str) -> InputError:
    """The error for a file that `on_error="skip"` would leave out."""
    return InputError(
        f"{shown(str(file))} cannot be used: {reason}; repair it, remove it or set "
        "data.on_error=skip"
    )


def why_unreadable(error: Exception) -> str:
    """The reason in an error that a reader of files raised, without the path."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"  # Pillow's own text repeats the whole path
    text = getattr(error, "strerror", None) or str(error)  # `str(OSError)` repeats the path
    return " ".join(text.split()) or type(error).__name__


def judged(job: Job) -> tuple[dict[str, str], dict[str, Header]]:
    """The files that headers show to be of no use, and the headers of the others."""
    skipped, headers = dict[str, str](), dict[str, Header]()
    header = job.kind.header
    if header is None:
        return skipped, headers
    first = ""
    expected: Shape = ()

    def work(file: str) -> Header | str:
        return job.attempt(header, file)

    with closing(parallel(work, job.files, job.kind.workers)) as results:
        found = track(results, "checking headers", len(job.files))
        for file, each in zip(job.files, found, strict=True):
            if isinstance(each, str):
                skipped[file] = each
                continue
            headers[file] = each
            if each.shape:
                first, expected = first or file, expected or each.shape
                job.same_shape(file, each.shape, first, expected)
    return skipped, headers


def parallel(work: Callable[[Any], T], items: Sequence[Any], workers: int) -> Generator[T]:
    """Yield `work` of every item, in order; if the caller stops early, no more work begins."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_memory(job: Job, files: Sequence[str], shape: Shape) -> Rows:
    """Rows for files in memory."""
    need = len(files) * math.prod(shape) * np.dtype(job.kind.dtype).itemsize
    afford(need, f"{len(files)} {job.kind.noun}s of {job.kind.size(shape)}", job.kind.less)
    return Rows.empty(len(files), shape, lambda _, s, dtype: np.zeros(s, dtype), job.kind.dtype)


def _sample(job: Job, skipped: dict[str, str]) -> tuple[str, np.ndarray, dict[str, str]]:
    """The first file that can be used, which sets the shape; its array; what is skipped so far."""
    skipped = dict(skipped)
    for file in job.files:
        found: Any = skipped.get(file) or job.attempt(job.kind.decode, file)
        if not isinstance(found, str):
            return file, found, skipped
        skipped[file] = found
    file, reason = next(iter(skipped.items()), ("", ""))
    raise InputError(
        f"{job.root}: none of its {len(job.files)} {job.kind.noun}s can be used; {shown(file)}: "
        f"{reason}"
    )


def decode(
    job: Job,
    skipped: dict[str, str],
    headers: dict[str, Header],
    make: Callable[[Job, Sequence[str], Shape], Rows] = in_memory,
    progress: Callable[[], None] = lambda: None,
) -> Decoded:
    """Decode files into rows.

    The decoded images come first, in order; the rows of files that turn out to be of no use are at
    the end. `skipped` and `headers` are from `judged`; `make` gives the rows, of which some may be
    filled; `progress` is called now and then.
    """
    first, sample, skipped = _sample(job, skipped)
    files = [file for file in job.files if file not in skipped]
    rows = make(job, files, sample.shape)
    rows.put(0, sample, job.format.limits)
    waiting = np.flatnonzero(~rows.digests.any(1)).tolist()

    def fill(block: Sequence[int]) -> list[tuple[str, str]]:
        failed = []
        for row in block:
            image = job.attempt(job.kind.decode, files[row])
            if isinstance(image, str):
                failed.append((files[row], image))
                continue
            job.same_shape(files[row], image.shape, first, sample.shape)
            rows.put(row, image, job.format.limits)
        return failed

    step = min(BLOCK[0], max(1, BLOCK[1] // sample.nbytes))
    blocks = [waiting[start : start + step] for start in range(0, len(waiting), step)]
    done = len(files) - len(waiting)
    with (
        closing(parallel(fill, blocks, job.kind.workers)) as results,
        Progress(f"reading {job.kind.noun}s", len(files), done) as shown_progress,
    ):
        for block, failed in zip(blocks, results, strict=True):
            skipped |= dict(failed)
            done += len(block)
            shown_progress.update(done, "")
            progress()
    kept = [row for row, file in enumerate(files) if file not in skipped]
    for new, old in enumerate(kept):
        if new < old:
            for array in rows:
                array[new] = array[old]
    n = len(kept)
    left = {file: skipped[file] for file in job.files if file in skipped}
    return Decoded(rows.images[:n], left, rows.digests[:n], rows.sums[:n], headers)
