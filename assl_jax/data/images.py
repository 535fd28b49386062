"""Image files to one uint8 array, decoded in parallel, with an optional cache on disk."""

import dataclasses
import math
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from assl_jax import records
from assl_jax.console import Progress, say
from assl_jax.data.dataset import DIGEST, image_digest, value_sums
from assl_jax.data.image_file import PICTURES, ImageFormat, decode_image
from assl_jax.data.memory import afford, tell_cache
from assl_jax.data.names import shown
from assl_jax.data.settings import expanded
from assl_jax.errors import InputError, require
from assl_jax.files import (
    LOCK,
    atomic_folder,
    content_digest,
    digest,
    digests,
    file_digest,
    first_changed,
    read_array,
    sweep,
    waiting_lock,
    write_array,
)

VERSION = 5  # of the cache's entries; entries of another version are not read
# Files of an entry.
IMAGES, DIGESTS, SUMS, ENTRY = "images.npy", "digests.npy", "sums.npy", "entry.json"
CHECKED = 2**30  # bytes of images whose content is checked at every start
BLOCK = 64  # files per job of the thread pool
STAMPED = 10_000  # the same, where only sizes and times are read


class Decoded(NamedTuple):
    """The images of some files.

    Attributes:
      images: `[n, h, w, c]` of the files that could be decoded, in memory or memory-mapped
        read-only.
      skipped: the reason for each other file.
      digests: `[n, 16]`, the `image_digest` of each image.
      sums: `[n, 2, c]`, of the values of each image and of their squares. They are summed while the
        images are decoded: reading a million images again would take a minute.
    """

    images: UInt8[np.ndarray, "n h w c"]
    skipped: dict[str, str]
    digests: UInt8[np.ndarray, "n 16"]
    sums: Int64[np.ndarray, "n 2 c"]


def read_images(
    root: Path, files: Sequence[str], format: ImageFormat, *, on_error: str, cache: str
) -> Decoded:
    """Decode `files`, or memory-map the result of an earlier call from `cache`.

    Args:
      root: folder that `files` are relative to.
      files: paths in the order of the result.
      format: how a file becomes an array; sizes and channels must agree.
      on_error: "raise", or "skip" to leave out files that cannot be decoded.
      cache: folder for decoded arrays; "" keeps nothing. An entry's key is a digest of everything
        that determines the array: these settings, the versions of Pillow and pydicom, and the
        path, size and modification time of each file, in order.

    Raises:
      InputError: a file that cannot be decoded, files that do not agree, a cache folder that cannot
        be written.
    """
    if not cache:
        return _decode_all(root, files, None, format, on_error)
    entry = expanded(cache, "data.cache") / _key(root, files, format, on_error)
    return _cached(entry) or _built(entry, root, files, format, on_error)


def _key(root: Path, files: Sequence[str], format: ImageFormat, on_error: str) -> str:
    import PIL

    folder = str(root)

    def stamps(start: int) -> list[tuple[int, int]]:
        found = []
        for file in files[start : start + STAMPED]:
            try:
                stat = os.stat(f"{folder}/{file}")
                found.append((stat.st_size, stat.st_mtime_ns))
            except OSError:  # a dangling link; decoding raises an error or skips the file
                found.append((-1, -1))
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [
            each for block in pool.map(stamps, range(0, len(files), STAMPED)) for each in block
        ]
    names = "\0".join(files).encode(errors="surrogateescape")
    listed = [content_digest(part) for part in (names, np.array(found, np.int64).tobytes())]
    readers = [PIL.__version__]
    if not all(file.lower().endswith(PICTURES) for file in files):  # DICOM may be among them
        readers += [version("pydicom")] if find_spec("pydicom") else []
    settings = [*readers, dataclasses.asdict(format), on_error]
    return digest([VERSION, str(root.resolve()), *settings, *listed], 20)


def _cached(entry: Path) -> Decoded | None:
    """The content of a cache entry; None if it is missing or damaged."""
    try:
        known = records.read_settings(entry / ENTRY)
        if first_changed(entry, known["files"]):
            return None
        images, sums = read_array(entry / IMAGES, mmap=True), read_array(entry / SUMS)
        return Decoded(images[: len(sums)], known["skipped"], read_array(entry / DIGESTS), sums)
    except (OSError, ValueError, EOFError, KeyError):
        return None


def _built(
    entry: Path, root: Path, files: Sequence[str], format: ImageFormat, on_error: str
) -> Decoded:
    """Decode the files into a new cache entry; the first of several processes does it for all."""
    cache = str(entry.parent)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(entry.with_name(f".{entry.name}{LOCK}")):
            if found := _cached(entry):
                return found
            if entry.exists():
                say(f"{entry} is damaged or of another version; its images are decoded again")
            sweep(entry.parent)
            with atomic_folder(entry) as folder:
                decoded = _decode_all(root, files, folder / IMAGES, format, on_error)
                write_array(folder / DIGESTS, decoded.digests)
                write_array(folder / SUMS, decoded.sums)
                skipped, checked = decoded.skipped, decoded.images.nbytes <= CHECKED
                del decoded  # closes the memory map: Windows does not rename open files
                small = {name: file_digest(folder / name) for name in (DIGESTS, SUMS)}
                known = digests(folder) if checked else small
                records.write_settings(folder / ENTRY, {"skipped": skipped, "files": known})
            found = _cached(entry)
    except OSError as e:
        raise InputError(
            f"data.cache={cache!r} cannot be written: {e.strerror or e}; name another folder"
        ) from e
    require(found is not None, f"data.cache={cache!r}: {entry.name} was removed; run again")
    assert found is not None
    tell_cache(entry.parent, f"{len(found.images):,} decoded images", found.images.nbytes)
    return found


def _decode_all(
    root: Path, files: Sequence[str], target: Path | None, format: ImageFormat, on_error: str
) -> Decoded:
    """Decode into memory, or into the file `target`.

    The array, and the file, have one row per file. The decoded images come first, in order; the
    rows of skipped files are at the end.
    """

    def decode(file: str) -> np.ndarray | str:
        """The image, or the reason why the file cannot be decoded."""
        try:
            return decode_image(root / file, format)
        except Exception as e:
            reason = why_unreadable(e)
            if on_error == "raise":
                raise InputError(
                    f"{shown(str(root / file))} cannot be read: {reason}; remove it or set "
                    "data.on_error=skip"
                ) from e
            return reason

    for first in files:  # the first readable file sets the shape
        sample = decode(first)
        if not isinstance(sample, str):
            break
    else:
        raise InputError(f"{root}: none of its {len(files)} images can be read")
    shape = sample.shape

    def fill(start: int) -> list[str]:
        reasons = []
        for i, file in enumerate(files[start : start + BLOCK], start):
            image = decode(file)
            reasons.append(image if isinstance(image, str) else "")
            if isinstance(image, str):
                continue
            require(
                image.shape[2] == shape[2],
                f"{root / file} has {image.shape[2]} channels, {root / first} has {shape[2]}: "
                "set data.channels=1 or 3 to convert them all",
            )
            require(
                image.shape == shape,
                f"{root / file} is {image.shape[1]}x{image.shape[0]} pixels, {root / first} is "
                f"{shape[1]}x{shape[0]}: set data.side to resize them all",
            )
            images[i] = image
            hashes[i] = np.frombuffer(image_digest(image), np.uint8)
            sums[i] = value_sums(image[None], low=0, high=255)[0]
        return reasons

    if target is None:
        what = f"{len(files)} images of {shape[1]}x{shape[0]} pixels"
        afford(len(files) * sample.nbytes, what, "lower data.side, or set data.cache")
    images = _empty((len(files), *shape), target)
    hashes = np.zeros((len(files), DIGEST), np.uint8)
    sums = np.zeros((len(files), 2, shape[2]), np.int64)
    reasons: list[str] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress("decoding images", len(files)) as progress,
    ):
        for block in pool.map(fill, range(0, len(files), BLOCK)):
            reasons += block
            progress.update(len(reasons), "")

    skipped = {file: reason for file, reason in zip(files, reasons, strict=True) if reason}
    if skipped:
        for new, old in enumerate(i for i, reason in enumerate(reasons) if not reason):
            images[new], hashes[new], sums[new] = images[old], hashes[old], sums[old]
    if isinstance(images, np.memmap):
        images.flush()
    kept = len(files) - len(skipped)
    return Decoded(images[:kept], skipped, hashes[:kept], sums[:kept])


def _empty(shape: tuple[int, ...], target: Path | None) -> np.ndarray:
    need = math.prod(shape)
    if target is None:
        return np.empty(shape, np.uint8)
    # Check the free space first: writing to a memory map on a full disk kills the process.
    free = shutil.disk_usage(target.parent).free
    require(
        free > need + 2**20,
        f"data.cache={str(target.parent.parent)!r} has {free / 1e9:.1f} GB free and needs "
        f"{need / 1e9:.1f} GB",
    )
    return np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)


def why_unreadable(error: Exception) -> str:
    """The reason in an error that a reader of images or volumes raised, without the path."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"  # Pillow's own text repeats the whole path
    text = getattr(error, "strerror", None) or str(error)  # `str(OSError)` repeats the path
    return " ".join(text.split()) or type(error).__name__
