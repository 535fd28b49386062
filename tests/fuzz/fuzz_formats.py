"""The table of formats: valid files, how they are changed, and what of the program reads them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fuzz_mutations as change
import fuzz_seeds as seeds

from assl_jax import records
from assl_jax.data import load
from assl_jax.data.decoded import read_files
from assl_jax.data.dicom_headers import with_headers
from assl_jax.data.folder import IMAGES
from assl_jax.data.image_file import ImageFormat, is_image
from assl_jax.data.rows import Row
from assl_jax.evaluation.export import network_of
from assl_jax.interop.start import read_start
from assl_jax.interop.tensors import read_tensors
from assl_jax.models import make_backbone
from assl_jax.training.metrics_log import MetricsLog

IMAGE_FORMATS = (
    ImageFormat(),
    ImageFormat(side=8, channels=3, pages="middle"),
    ImageFormat(window=(0.0, 65535.0), pages="first"),
    ImageFormat(alpha="drop", pages="channels"),
    ImageFormat(channels=4, pages="first"),
)
VOLUME_SETTINGS: tuple[dict[str, Any], ...] = (
    {"window": (-1024, 3071)},
    {"nan": "lowest"},
    {"nan": "0", "crop_foreground": True, "foreground_above": -500.0},
    {"window": (-1024, 3071), "spacing": (2.0, 1.0, 1.0)},
)
ARRAY_SETTINGS: tuple[dict[str, Any], ...] = ({}, {"window": (0, 255)}, {"channels_axis": "last"})


def read_image(path: Path, file: str, pick: int) -> None:
    is_image(path / file)
    format = IMAGE_FORMATS[pick % len(IMAGE_FORMATS)]
    read_files(path, [file], IMAGES, format, on_error="raise")


def read_x_ray(path: Path, file: str, pick: int) -> None:
    format = IMAGE_FORMATS[pick % len(IMAGE_FORMATS)]
    rows, _ = with_headers(path, [Row("", file)], window=bool(format.window))
    read_files(path, [row.path for row in rows], IMAGES, format, on_error="raise")


def read_volume(path: Path, file: str, pick: int) -> None:
    # A resampling compiles a function for each shape: it is the rare choice.
    settings = VOLUME_SETTINGS[-1 if pick % 50 == 49 else pick % (len(VOLUME_SETTINGS) - 1)]
    load("volumes", path=str(path), **settings)


def read_npz(path: Path, file: str, pick: int) -> None:
    load("npz", path=str(path / file), **ARRAY_SETTINGS[pick % len(ARRAY_SETTINGS)])


def read_csv(path: Path, file: str, pick: int) -> None:
    load("folder", path=str(path), csv=file)


def read_weights(path: Path, file: str, pick: int) -> None:
    if pick % 10 < 8:
        read_tensors(path / file)
    else:
        read_start(path / file, _tiny() if pick % 10 < 9 else _small(), rank=2, channels=3)


@functools.cache
def _tiny() -> Any:
    from tinynet import TinyNet

    return TinyNet(width=0.25)


@functools.cache
def _small() -> Any:
    return make_backbone("resnet10", width=0.0625)


def read_record(path: Path, file: str, pick: int) -> None:
    kind = seeds.RECORDS.get(file)
    if file == "metrics.jsonl":
        MetricsLog(path, ()).read()
    elif kind is None:
        records.read_settings(path / file)
    else:
        found = records.read(path / file, kind)
        if hasattr(found, "backbone"):
            network_of(found)


def read_stl10(path: Path, file: str, pick: int) -> None:
    load("stl10", path=str(path), folds=((0,), (), (1,))[pick % 3], reader="binary")


class Format(NamedTuple):
    """One format.

    Attributes:
      seeds: gives the valid files, by variant.
      read: reads a folder in which one file was changed: `read(folder, file, pick)`, where `pick`
        chooses settings.
      changes: one of them is applied to one file.
      share: of all cases, in percent.
      every: whether any file of a variant is changed, and not the first alone.
    """

    seeds: Callable[[], seeds.Seeds]
    read: Callable[[Path, str, int], None]
    changes: tuple[change.Mutation, ...]
    share: int
    every: bool = False


BYTES, WORDS = change.some_bytes, change.words
FORMATS = {
    "image": Format(seeds.images, read_image, (BYTES, change.png_chunks), 22),
    "x-ray": Format(seeds.x_rays, read_x_ray, (BYTES,), 4),
    "nifti": Format(seeds.nifti, read_volume, (BYTES, change.unpacked), 13),
    "other volumes": Format(
        seeds.other_volumes, read_volume, (BYTES, WORDS, change.unpacked), 13, every=True
    ),
    "dicom": Format(seeds.dicom, read_volume, (BYTES,), 9, every=True),
    "npz": Format(seeds.npz, read_npz, (BYTES, change.members), 13),
    "csv": Format(seeds.csv, read_csv, (BYTES, WORDS, change.cells), 9),
    "safetensors": Format(seeds.safetensors, read_weights, (BYTES, change.safetensors_header), 9),
    "records": Format(seeds.json_records, read_record, (BYTES, WORDS, change.json_values), 16),
    "stl10": Format(seeds.stl10, read_stl10, (BYTES, WORDS, change.tar_headers), 5, every=True),
}
