"""A file as an image of a data set: for what is read after training."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from assl_jax.console import say
from assl_jax.data.dataset import Dataset
from assl_jax.data.image_file import (
    EXTENSIONS,
    ImageFormat,
    decode_image,
    endings,
    find_images,
)
from assl_jax.data.images import why_unreadable
from assl_jax.data.masks import masks_among
from assl_jax.data.names import shown
from assl_jax.data.volume_file import VolumeFormat, read_volume
from assl_jax.data.volume_reader import VOLUME_SUFFIXES, find_volumes
from assl_jax.errors import InputError, require
from assl_jax.ops.resample import resize


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileReader:
    """Reads files in the stored units of a data set, as its source did where it read such files.

    Attributes:
      shape: `(*space, c)` of an image.
      low, high: the stored values that become 0 and 1, see `ops.intensity.Intensity`.
      format: the settings by which the source read its files: fields of `ImageFormat` or
        `VolumeFormat`. Settings that are missing follow from `shape`, `low` and `high`.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    format: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def find(self, path: Path) -> list[Path]:
        """The files that `path` names: itself, or the files under a folder, sorted.

        Raises:
          InputError: nothing there, or a folder without a file that can be read.
        """
        require(path.exists(), f"{path} does not exist")
        volumes = len(self.shape) == 4
        if not path.is_dir():
            return [path]
        endings = VOLUME_SUFFIXES if volumes else EXTENSIONS
        try:
            found = find_volumes(path) if volumes else _images(path)
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
        require(bool(found), f"{path} holds no files that end in {' '.join(endings)}")
        return found

    def read(self, file: Path) -> np.ndarray:
        """A file as `[*space, c]` in stored units; an image of another size is resized.

        Raises:
          InputError: a file that cannot be read, or does not fit the data set.
        """
        read = self._volume if len(self.shape) == 4 else self._picture
        try:
            return read(file)
        except InputError:
            raise
        except Exception as error:  # Pillow, nibabel and gzip raise nearly anything
            raise InputError(f"{file} cannot be read: {why_unreadable(error)}") from error

    def _picture(self, file: Path) -> np.ndarray:
        h, w, channels = self.shape
        format = ImageFormat.of(self.format)
        if not format.side and h == w:
            format = dataclasses.replace(format, side=h)
        if not format.channels and channels in (1, 3) and format.pages != "channels":
            format = dataclasses.replace(format, channels=channels)
        image = decode_image(file, format)
        require(
            image.shape[2] == channels,
            f"{file} has {image.shape[2]} channels, the run's images have {channels}",
        )
        if image.shape != self.shape:
            resized = resize(jnp.asarray(image[None], jnp.float32), (h, w))[0]
            image = np.rint(np.asarray(resized)).astype(np.uint8)
        if (self.low, self.high) == (0, 255):
            return image
        return np.rint(self.low + image.astype(np.float32) / 255 * (self.high - self.low))

    def _volume(self, file: Path) -> np.ndarray:
        channels = self.shape[-1]
        require(
            channels == 1, f"the run's volumes have {channels} channels, a volume file has only one"
        )
        own = {"window": (self.low, self.high), **self.format, "shape": self.shape[:-1]}
        return read_volume(file, VolumeFormat(**own))


def _images(folder: Path) -> list[Path]:
    """The images under a folder; what else is there is said."""
    images, others = find_images(folder)
    masks = masks_among(images)
    if others:
        say(f"{shown(str(folder))}: files that are no images: {endings(others)}")
    if masks:
        mask, image = next(iter(masks.items()))
        say(
            f"{shown(str(folder))}: {len(masks)} masks are left out, such as {shown(mask)} of "
            f"{shown(image)}"
        )
    return [folder / name for name in images if name not in masks]


def reader_of(dataset: Dataset) -> FileReader:
    """The reader for files like those of a data set."""
    return FileReader(
        shape=dataset.images.shape[1:],
        low=dataset.intensity.low,
        high=dataset.intensity.high,
        format=dataset.format,
    )
