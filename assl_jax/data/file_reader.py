"""A file as an image of a data set: for what is read after training."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from assl_jax.console import say
from assl_jax.data.dataset import Dataset
from assl_jax.data.decoding import why_unreadable
from assl_jax.data.dicom_files import is_dicom, unlisted, unused
from assl_jax.data.image_file import (
    EXTENSIONS,
    ImageFormat,
    decode_image,
    endings,
    find_images,
)
from assl_jax.data.masks import masks_among
from assl_jax.data.names import shown
from assl_jax.data.volume_file import VolumeFormat, read_volume
from assl_jax.data.volume_folder import find_volumes
from assl_jax.data.volume_reader import identify
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

    def find(self, *paths: Path) -> list[Path]:
        """The files that paths name: themselves, or the files under folders, sorted.

        Of several files of one volume, such as the slices of a DICOM series, the first stands for
        it. What is left out is said, and which files of a series are not used.

        Raises:
          InputError: nothing there, or a folder without a file that can be read.
        """
        found = []
        for path in paths:
            require(path.exists(), f"{path} does not exist")
            found += self._inside(path) if path.is_dir() else [path]
        return _one_each(found) if len(self.shape) == 4 else list(dict.fromkeys(found))

    def _inside(self, folder: Path) -> list[Path]:
        if len(self.shape) == 4:
            include = "name their files"
            volumes = find_volumes(folder).required(include)
            for note in volumes.notes(include):
                say(f"{folder}: {note}")
            return volumes.volumes
        found = _images(folder)
        require(bool(found), f"{folder} holds no files that end in {' '.join(EXTENSIONS)}")
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

    @property
    def image_format(self) -> ImageFormat:
        """How an image file is decoded."""
        h, w, channels = self.shape
        format = ImageFormat.of(self.format)
        if not format.side and h == w:
            format = dataclasses.replace(format, side=h)
        if not format.channels and channels in (1, 3) and format.pages != "channels":
            format = dataclasses.replace(format, channels=channels)
        return format

    @property
    def volume_format(self) -> VolumeFormat:
        """How a volume file is read."""
        own = {"window": (self.low, self.high), **self.format, "shape": self.shape[:-1]}
        return VolumeFormat(**own)

    def _picture(self, file: Path) -> np.ndarray:
        h, w, channels = self.shape
        image = decode_image(file, self.image_format)
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
        return read_volume(file, self.volume_format)


def _one_each(files: Sequence[Path]) -> list[Path]:
    """The first path of each volume; several paths of one volume are said."""
    volumes: dict[str, list[Path]] = {}
    for file in dict.fromkeys(files):
        volumes.setdefault(identify(file)[1] or str(file), []).append(file)
    several = [same for same in volumes.values() if len(same) > 1]
    if several:
        say(
            f"{sum(map(len, several))} of the files are parts of {len(several)} "
            f"volume{'s' if len(several) > 1 else ''}; a volume stands under the first of its files"
        )
    firsts = [same[0] for same in volumes.values()]
    left_out = dict[Path, str]()
    for path in filter(is_dicom, firsts):
        left_out |= unused(path)
    for file, kind in (left_out | unlisted(firsts)).items():
        say(f"left out: {file}: {kind}")
    return firsts


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
