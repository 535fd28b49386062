"""Grad-CAM of a finished run's fine-tuned networks as a page.

python -m assl_jax gradcam --workdir=runs/mtassl_digits [--images=FOLDER_OR_FILE --n=8 ...]
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from assl_jax import records
from assl_jax.config import load_data, saved_config
from assl_jax.data import Dataset
from assl_jax.data.image_file import EXTENSIONS, ImageFormat, decode_image, find_images
from assl_jax.data.volume_file import VOLUME_SUFFIXES, VolumeFormat, find_volumes, read_volume
from assl_jax.errors import InputError, require
from assl_jax.evaluation.export import load_models
from assl_jax.evaluation.gradcam import attend, example_test_images
from assl_jax.ops.resample import resize
from assl_jax.records import Results
from assl_jax.report.attention import gradcam_page
from assl_jax.report.html import PAGE, write_files


def gradcam(
    workdir: str | Path,
    *,
    images: str = "",
    n: int = 8,
    networks: Sequence[str] = (),
    out: str = "",
) -> Path:
    """Write a page with Grad-CAM and Guided Grad-CAM of a run's networks.

    Args:
      workdir: of a finished run.
      images: a file, or a folder, whose files are read in the order of their names; a DICOM series
        is one volume. They are converted to the shape and the channels of the run's data. "" takes
        test images of all classes in turn.
      n: number of images at most.
      networks: labels in `results.json`; without labels, all networks that were kept.
      out: folder of the page; "" means `gradcam/` in the workdir.

    Returns:
      The path of `index.html`.

    Raises:
      InputError: no finished run, an unknown network, or images that cannot be read.
    """
    workdir = Path(workdir)
    require(n >= 1, f"--n={n} must be at least 1")
    require(
        (workdir / records.RESULTS).exists() and (workdir / records.CONFIG).exists(),
        f"{workdir} holds no finished run (no {records.RESULTS} and {records.CONFIG}); "
        "run it first",
    )
    results = records.read(workdir / records.RESULTS, Results)
    config = saved_config(workdir)
    models = load_models(workdir, results, networks)
    require(bool(models), f"{workdir} has kept no fine-tuned network; run it again")
    dataset = load_data(config)
    stored, words = (
        _read_all(images, n, dataset, config.data.to_dict())
        if images
        else example_test_images(dataset, n)
    )
    page = gradcam_page(f"Grad-CAM: {workdir.resolve().name}", attend(models, stored, words))
    path = Path(out) if out else workdir / "gradcam"
    try:
        return write_files(path, {PAGE: page})
    except OSError as error:
        raise InputError(f"--out={path} cannot be written: {error.strerror}") from error


def _read_all(
    images: str, n: int, dataset: Dataset, settings: Mapping[str, Any]
) -> tuple[np.ndarray, list[str]]:
    """At most `n` of the user's images in the stored units of the data set, and the file names."""
    path = Path(images).expanduser()
    require(path.exists(), f"--images={images} does not exist")
    files = [path]
    if path.is_dir():
        volumes = len(dataset.space) == 3
        endings = VOLUME_SUFFIXES if volumes else EXTENSIONS
        files = (find_volumes(path) if volumes else find_images(path)[0])[:n]
        require(bool(files), f"--images={images} holds no files that end in {' '.join(endings)}")
    stored = np.stack([_read(file, dataset, settings) for file in files])
    return stored, [file.name for file in files]


def _read(file: Path, dataset: Dataset, settings: Mapping[str, Any]) -> np.ndarray:
    """A file as an image of the data set, `[*space, c]` in its stored units."""
    read = _volume if len(dataset.space) == 3 else _image
    try:
        return read(file, dataset, settings)
    except InputError:
        raise
    except Exception as error:  # Pillow, nibabel and gzip raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} cannot be read: {reason}; remove it from --images") from error


def _image(file: Path, dataset: Dataset, settings: Mapping[str, Any]) -> np.ndarray:
    """A picture; its levels 0 to 255 become the data set's lowest to highest value."""
    (h, w), limits = dataset.space, dataset.intensity
    format = dataclasses.replace(
        ImageFormat.of(settings), side=h if h == w else 0, channels=dataset.channels
    )
    image = decode_image(file, format)
    levels = np.asarray(resize(jnp.asarray(image[None], jnp.float32), (h, w))[0])
    return np.rint(limits.low + levels / 255 * (limits.high - limits.low))


def _volume(file: Path, dataset: Dataset, settings: Mapping[str, Any]) -> np.ndarray:
    """Read a file as the source `volumes` does.

    For another source without a window, the window is the range of its intensity.
    """
    require(
        dataset.channels == 1,
        f"the run's volumes have {dataset.channels} channels, volume files one; leave out --images",
    )
    cropped = settings.get("crop_foreground")
    format = VolumeFormat(
        shape=dataset.space,
        spacing=settings.get("spacing", ()),
        window=settings.get("window", (dataset.intensity.low, dataset.intensity.high)),
        foreground_above=float(settings["foreground_above"]) if cropped else None,
        nan=settings.get("nan", "refuse"),
    )
    return read_volume(file, format)


def main(argv: list[str]) -> None:
    """The command; raises as `gradcam` does."""
    parser = argparse.ArgumentParser(prog="python -m assl_jax gradcam")
    parser.add_argument("--workdir", required=True, help="folder of a finished run")
    parser.add_argument("--images", default="", help="a file or a folder; default: test images")
    parser.add_argument("--n", type=int, default=8, help="number of images at most")
    parser.add_argument("--networks", default="", help="labels with commas; default: all")
    parser.add_argument("--out", default="", help="folder of the page; default WORKDIR/gradcam")
    given = vars(parser.parse_args(argv))
    labels = [name.strip() for name in given.pop("networks").split(",") if name.strip()]
    print(gradcam(**given, networks=labels))
