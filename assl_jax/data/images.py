"""Image files into one uint8 array, decoded in parallel, with an optional cache on disk."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from assl_jax.errors import InputError, require

EXTENSIONS = (  # compared in lower case
    *(".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
T = TypeVar("T")
BLOCK = 64  # files per job of the thread pool


def decode_image(path: Path, *, side: int = 0, channels: int = 0) -> UInt8[np.ndarray, "h w c"]:
    """Decode one image file (the first frame, if it has several).

    The EXIF orientation is applied. Palette, CMYK and other colour modes become RGB, black and
    white becomes grey, transparent images are laid on white, 16 bits per colour channel are
    reduced to 8 by Pillow.

    Args:
      path: the file.
      side: 0 keeps the size; otherwise the centre square is resized to `side` pixels (bilinear,
        antialiased).
      channels: 1 or 3 converts to grey or RGB; 0 keeps which of the two the image is.

    Returns:
      `[h, w, 1]` or `[h, w, 3]`.

    Raises:
      ValueError: grey pixels of more than 8 bits, whose range is the user's to choose.
      Exception: whatever Pillow raises on a broken file, which is nearly anything.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        if side:
            file.draft(None, (2 * side, 2 * side))  # lets libjpeg shrink large photographs
        image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":
        raise ValueError(f"grey pixels of more than 8 bits (mode {image.mode}); save it as 8-bit")
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("L" if channels == 1 or (grey and channels == 0) else "RGB")
    if side:
        image = ImageOps.fit(image, (side, side), method=Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1)


def read_images(
    root: Path, files: Sequence[str], *, side: int, channels: int, on_error: str, cache: str
) -> tuple[UInt8[np.ndarray, "n h w c"], dict[str, str]]:
    """Decode `files`, or map the array that an earlier call has left in `cache`.

    Args:
      root: folder that `files` are relative to.
      files: paths in the order of the result.
      side, channels: as in `decode_image`; 0 demands that all files agree.
      on_error: "raise", or "skip" to leave out what cannot be decoded.
      cache: folder for decoded arrays, "" for none. An entry is keyed by everything that
        determines the array: these settings, Pillow's version, and each file's path, size and
        modification time, in order.

    Returns:
      The images that could be decoded, in memory or memory-mapped read-only, and the skipped
      files with the reason of each.

    Raises:
      InputError: a file that cannot be decoded, files that do not agree, a useless cache folder.
    """
    settings: dict[str, Any] = {"side": side, "channels": channels, "on_error": on_error}
    if not cache:
        images, skipped = _decode_all(root, files, None, **settings)
        return images[: len(files) - len(skipped)], skipped

    entry = Path(cache).expanduser() / _key(root, files, settings)
    found = _cached(entry)
    if found is None:
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix="unfinished-", dir=entry.parent))
        except OSError as e:
            raise InputError(f"data.cache={cache!r} cannot be written: {e.strerror}") from e
        try:
            images, skipped = _decode_all(root, files, scratch / "images.npy", **settings)
            del images  # flushed; the file can be moved
            (scratch / "skipped.json").write_text(json.dumps(skipped))
            # A damaged entry goes; an intact one that another process has just finished stays.
            if _cached(entry) is None:
                shutil.rmtree(entry, ignore_errors=True)
                scratch.rename(entry)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        found = _cached(entry)
        require(found is not None, f"data.cache={cache!r}: {entry.name} vanished; run again")
    assert found is not None
    images, skipped = found
    return images[: len(files) - len(skipped)], skipped


def _key(root: Path, files: Sequence[str], settings: dict[str, Any]) -> str:
    import PIL

    digest = hashlib.sha256(json.dumps([1, PIL.__version__, settings]).encode())
    for file in files:
        try:
            stat = (root / file).stat()
            state = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:  # a dangling link: decoding will say so, or skip it
            state = "unreadable"
        digest.update(f"{file}\0{state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:20]


def _cached(entry: Path) -> tuple[np.ndarray, dict[str, str]] | None:
    """The cache entry, or None where it is missing or damaged."""
    try:
        skipped = json.loads((entry / "skipped.json").read_text())
        return np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False), skipped
    except (OSError, ValueError, EOFError):
        return None


def _decode_all(
    root: Path,
    files: Sequence[str],
    target: Path | None,
    *,
    side: int,
    channels: int,
    on_error: str,
) -> tuple[np.ndarray, dict[str, str]]:
    """Decode into memory, or into the file `target`.

    The array has room for every file; the decoded images come first, in order.
    """

    def decode(file: str) -> np.ndarray | str:
        """The image, or the reason why there is none."""
        try:
            return decode_image(root / file, side=side, channels=channels)
        except Exception as e:
            reason = _reason(e)
            if on_error == "raise":
                raise InputError(
                    f"{root / file} cannot be read: {reason}; remove it or set data.on_error=skip"
                ) from e
            return reason

    for first in files:  # the first good one settles the shape
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
        return reasons

    images = _empty((len(files), *shape), target)
    reasons: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in _progress(pool.map(fill, range(0, len(files), BLOCK)), len(files)):
            reasons += block

    skipped = {file: reason for file, reason in zip(files, reasons, strict=True) if reason}
    if skipped:
        for new, old in enumerate(i for i, reason in enumerate(reasons) if not reason):
            images[new] = images[old]
    if isinstance(images, np.memmap):
        images.flush()
    return images, skipped


def _empty(shape: tuple[int, ...], target: Path | None) -> np.ndarray:
    if target is None:
        return np.empty(shape, np.uint8)
    # A memory map that runs out of disk kills the process, so look first.
    need, free = int(np.prod(shape)), shutil.disk_usage(target.parent).free
    require(
        free > need + 2**20,
        f"data.cache={str(target.parent.parent)!r} has {free / 1e9:.1f} GB free and needs "
        f"{need / 1e9:.1f} GB",
    )
    return np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"  # Pillow's own text repeats the whole path
    return " ".join(str(error).split()) or type(error).__name__


def _progress(blocks: Iterable[T], files: int) -> Iterable[T]:
    """`blocks`, with a bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        return blocks
    from rich.console import Console
    from rich.progress import track

    total = -(-files // BLOCK)
    return track(blocks, f"decoding {files} images", total=total, console=Console(stderr=True))
