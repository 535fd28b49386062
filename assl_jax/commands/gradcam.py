"""Grad-CAM of a finished run's fine-tuned networks as a page.

python -m assl_jax gradcam --workdir=runs/mtassl_digits [--images=FOLDER_OR_FILE --n=8 ...]
"""

from pathlib import Path

import numpy as np

from assl_jax import outputs, records
from assl_jax.command_line import Options
from assl_jax.config import words
from assl_jax.config_reading import saved_config, typed
from assl_jax.data.file_reader import reader_of
from assl_jax.errors import require
from assl_jax.evaluation.export import load_models
from assl_jax.evaluation.gradcam import attend, example_test_images
from assl_jax.records import Results
from assl_jax.report.attention import gradcam_page
from assl_jax.report.html import PAGE
from assl_jax.report.names import titles


def main(argv: list[str]) -> None:
    """The command."""
    parser = Options("gradcam")
    add = parser.add_argument
    add("--workdir", required=True, help="folder of a finished run")
    add("--images", default="", help="a file or a folder; default: test images")
    add("--n", type=int, default=8, help="number of images at most")
    add("--networks", default="", help="labels with commas; default: all")
    add("--out", default="", help="folder of the page; default WORKDIR/gradcam")
    parser.add_force()
    given = parser.parse_args(argv)
    workdir = Path(given.workdir)
    require(given.n >= 1, f"--n={given.n} must be at least 1")
    results = records.read(workdir / records.RESULTS, Results)
    config = typed(saved_config(workdir))
    models = load_models(workdir, results, words(given.networks))
    require(bool(models), f"{workdir} has kept no fine-tuned network; run it again")
    dataset = config.data.load()
    if given.images:
        reader = reader_of(dataset)
        files = reader.find(Path(given.images).expanduser())[: given.n]
        stored, lines = np.stack([reader.read(file) for file in files]), [f.name for f in files]
    else:
        stored, lines = example_test_images(dataset, given.n)
    named = {titles(results)[label]: model for label, model in models.items()}
    page = gradcam_page(f"Grad-CAM: {workdir.resolve().name}", attend(named, stored, lines))
    path = (Path(given.out) if given.out else workdir / "gradcam") / PAGE
    outputs.write({path: page.encode()}, force=given.force)
    print(path)
