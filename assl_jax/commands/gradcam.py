"""Grad-CAM of a finished run's fine-tuned networks as a page.

python -m assl_jax.gradcam --workdir=runs/mtassl_digits [--images=FOLDER_OR_FILE --n=8 ...]
"""

import argparse
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from assl_jax.data import Dataset, load
from assl_jax.data.images import EXTENSIONS, decode_image
from assl_jax.data.volume_file import VOLUME_SUFFIXES, VolumeFormat, read_volume
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.export import Model, load_model
from assl_jax.evaluation.gradcam import attend
from assl_jax.ops.resample import resize
from assl_jax.report.attention import attention_section
from assl_jax.report.html import document
from assl_jax.strategies.stages import read_json, write_text


def gradcam(
    workdir: str | Path, *, images: str = "", n: int = 8, networks: str = "", out: str = ""
) -> Path:
    """Write a page with Grad-CAM and Guided Grad-CAM of a run's networks.

    Args:
      workdir: of a finished run.
      images: a file, or a folder whose files are taken in the order of their names; brought to the
        shape and channels of the run's data. "" takes test images, spread over the classes.
      n: how many images at most.
      networks: labels of `results.json`, with commas between them; "" takes all that were kept.
      out: folder of the page; "" is `gradcam/` in the workdir.

    Returns:
      The path of `index.html`.

    Raises:
      InputError: no finished run, an unknown network, or images that cannot be read.
    """
    workdir = Path(workdir)
    require(n >= 1, f"--n={n} must be at least 1")
    results, config = (read_json(workdir / f"{name}.json") for name in ("results", "config"))
    require(
        bool(results and config),
        f"{workdir} holds no finished run (no results.json and config.json); run it first",
    )
    models = fine_tuned(workdir, results, networks)
    require(bool(models), f"{workdir} has kept no fine-tuned network; run it again")
    # What was a tuple came back from JSON as a list.
    data: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in config["data"].items()
    }
    dataset = load(data.pop("name"), **data)
    stored, words = _read_all(images, n, dataset, data) if images else some_test_images(dataset, n)
    shown = attend(models, stored, words)
    title = f"Grad-CAM: {workdir.resolve().name}"
    html = document(title, [f"<h1>{escape(title)}</h1>", attention_section(shown)])
    path = Path(out) if out else workdir / "gradcam"
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / "index.html", html)
    except OSError as error:
        raise InputError(f"--out={path} cannot be written: {error.strerror}") from error
    return path / "index.html"


def some_test_images(dataset: Dataset, n: int) -> tuple[np.ndarray, list[str]]:
    """At most `n` test images, of one class after the other, and the names of their classes."""
    classes = dataset.labels[dataset.test]
    turn = [int((classes[:i] == k).sum()) for i, k in enumerate(classes)]
    rows = dataset.test[np.lexsort((classes, turn))[:n]]
    return dataset.images[rows], [dataset.class_names[k] for k in dataset.labels[rows]]


def fine_tuned(workdir: Path, results: Mapping[str, Any], networks: str = "") -> dict[str, Model]:
    """Fine-tuned networks of a run by label.

    Args:
      workdir, results: the run's folder and what its `results.json` holds.
      networks: labels, with commas between them; "" takes all that were kept, a pool's
        Self-ASSL beside its plain network and the second run after both.

    Raises:
      InputError: an unknown label, or a network that was not kept.
    """
    folders = {
        entry["label"]: workdir / results["stages"] / entry["finetune"]
        for entry in results.get("networks") or []
        if entry.get("finetune")
    }
    if networks:
        chosen = [name.strip() for name in networks.split(",") if name.strip()]
        return {name: load_model(lookup(folders, name, "--networks")) for name in chosen}
    kept = [name for name, folder in folders.items() if (folder / "model").is_dir()]
    pools = [name.partition(".")[0] for name in kept]

    def place(name: str) -> tuple[int, bool]:
        pool, _, variant = name.partition(".")
        return pools.index(pool), variant == "second_run"

    return {name: load_model(folders[name]) for name in sorted(kept, key=place)}


def _read_all(
    images: str, n: int, dataset: Dataset, settings: Mapping[str, Any]
) -> tuple[np.ndarray, list[str]]:
    """At most `n` of the user's images in the data set's stored units, and their files' names."""
    path = Path(images).expanduser()
    require(path.exists(), f"--images={images} does not exist")
    files = [path]
    if path.is_dir():
        endings = VOLUME_SUFFIXES if len(dataset.space) == 3 else EXTENSIONS
        visible = sorted(file for file in path.rglob("*") if file.name[0] != ".")
        files = [file for file in visible if file.name.lower().endswith(endings)][:n]
        require(bool(files), f"--images={images} holds no files that end in {' '.join(endings)}")
    stored = np.stack([_read(file, dataset, settings) for file in files])
    return stored, [file.name for file in files]


def _read(file: Path, dataset: Dataset, settings: Mapping[str, Any]) -> np.ndarray:
    """A file as one of the data set's images `[*space, c]`, in its stored units."""
    read = _volume if len(dataset.space) == 3 else _image
    try:
        return read(file, dataset, settings)
    except InputError:
        raise
    except Exception as error:  # Pillow, nibabel and gzip raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} cannot be read: {reason}; remove it from --images") from error


def _image(file: Path, dataset: Dataset, _: Mapping[str, Any]) -> np.ndarray:
    """Levels 0 to 255 stand for the data set's lowest to highest value."""
    (h, w), limits = dataset.space, dataset.intensity
    image = decode_image(file, side=h if h == w else 0, channels=dataset.channels)
    levels = np.asarray(resize(jnp.asarray(image[None], jnp.float32), (h, w))[0])
    return limits.low + levels / 255 * (limits.high - limits.low)


def _volume(file: Path, dataset: Dataset, settings: Mapping[str, Any]) -> np.ndarray:
    """As the source `volumes` reads it; others have a window of file values."""
    require(
        dataset.channels == 1,
        f"the run's volumes have {dataset.channels} channels, NIfTI files one; leave out --images",
    )
    cropped = settings.get("crop_foreground")
    format = VolumeFormat(
        shape=dataset.space,
        spacing=settings.get("spacing", ()),
        window=settings.get("window", (dataset.intensity.low, dataset.intensity.high)),
        foreground_above=float(settings["foreground_above"]) if cropped else None,
    )
    return read_volume(file, format)


def main(argv: list[str]) -> None:
    """The command; a mistake is one line and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m assl_jax.gradcam")
    parser.add_argument("--workdir", required=True, help="folder of a finished run")
    parser.add_argument("--images", default="", help="a file or a folder; default: test images")
    parser.add_argument("--n", type=int, default=8, help="number of images at most")
    parser.add_argument("--networks", default="", help="labels with commas; default: all")
    parser.add_argument("--out", default="", help="folder of the page; default WORKDIR/gradcam")
    try:
        print(gradcam(**vars(parser.parse_args(argv))))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
