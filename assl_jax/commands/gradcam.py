"""Grad-CAM of a finished run's fine-tuned networks as a page.

python -m assl_jax gradcam --workdir=runs/mtassl_digits [--images=FOLDER_OR_FILE --n=8 ...]
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assl_jax import outputs, records
from assl_jax.command_line import Options
from assl_jax.config_reading import saved_config, typed
from assl_jax.data.file_reader import reader_of
from assl_jax.errors import require
from assl_jax.evaluation.export import load_models
from assl_jax.evaluation.gradcam import attend, example_test_images
from assl_jax.records import Results
from assl_jax.report.attention import gradcam_page
from assl_jax.report.html import PAGE
from assl_jax.report.names import titles


def gradcam(
    workdir: str | Path,
    *,
    images: str = "",
    n: int = 8,
    networks: Sequence[str] = (),
    out: str = "",
    force: bool = False,
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
      force: see `outputs.write`.

    Returns:
      The path of `index.html`.

    Raises:
      InputError: no finished run, an unknown network, images that cannot be read, or as
        `outputs.write`.
    """
    workdir = Path(workdir)
    require(n >= 1, f"--n={n} must be at least 1")
    results = records.read(workdir / records.RESULTS, Results)
    config = typed(saved_config(workdir))
    models = load_models(workdir, results, networks)
    require(bool(models), f"{workdir} has kept no fine-tuned network; run it again")
    dataset = config.data.load()
    if images:
        reader = reader_of(dataset)
        files = reader.find(Path(images).expanduser())[:n]
        stored, words = np.stack([reader.read(file) for file in files]), [f.name for f in files]
    else:
        stored, words = example_test_images(dataset, n)
    named = {titles(results)[label]: model for label, model in models.items()}
    page = gradcam_page(f"Grad-CAM: {workdir.resolve().name}", attend(named, stored, words))
    path = (Path(out) if out else workdir / "gradcam") / PAGE
    outputs.write({path: page.encode()}, force=force)
    return path


def main(argv: list[str]) -> None:
    """The command; raises as `gradcam` does."""
    parser = Options("gradcam")
    parser.add_argument("--workdir", required=True, help="folder of a finished run")
    parser.add_argument("--images", default="", help="a file or a folder; default: test images")
    parser.add_argument("--n", type=int, default=8, help="number of images at most")
    parser.add_argument("--networks", default="", help="labels with commas; default: all")
    parser.add_argument("--out", default="", help="folder of the page; default WORKDIR/gradcam")
    parser.add_force()
    given = vars(parser.parse_args(argv))
    labels = [name.strip() for name in given.pop("networks").split(",") if name.strip()]
    print(gradcam(**given, networks=labels))
