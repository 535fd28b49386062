"""`python -m assl_jax gradcam` on a run's folder made by hand."""

from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import BACKBONE, fine_tuned, network
from PIL import Image

from assl_jax.__main__ import main
from assl_jax.data import load
from assl_jax.models import make_backbone

LABELS = ("scratch", "jigsaw", "rotation", "rotation.second_run", "rotation.self_assl")
PHANTOMS = {"volumes": 24, "shape": [8, 12, 10], "labels": 8, "test": 8}


class Page(HTMLParser):
    """The words of table heads and below pictures, and the pictures' addresses."""

    def __init__(self, path):
        super().__init__()
        self.tag, self.heads, self.captions, self.sources = "", [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.sources += [value for key, value in attrs if key == "src"]

    def handle_data(self, data):
        if self.tag in ("th", "figcaption"):
            (self.heads if self.tag == "th" else self.captions).append(data)
        self.tag = ""


def begin(workdir, data, drawn, write_run, *, copies=1):
    """A run's folder with five networks; the weights of `jigsaw` were not kept."""
    dataset = load(**data)
    settings = {**BACKBONE, "delay": [0] * len(dataset.space), "copies": copies}
    backbone = make_backbone(**settings)
    variables = drawn(backbone.init, jnp.zeros((1, *dataset.space, dataset.channels)))
    kernel = np.random.default_rng(0).normal(size=(32 * copies, dataset.num_classes))
    head = {"kernel": kernel, "bias": np.zeros(dataset.num_classes), "settings": settings}
    for label in set(LABELS) - {"jigsaw"}:
        stage = workdir / ".." / "stages" / f"finetune-{label}"
        fine_tuned(stage, variables, dataset, **head)
    write_run(workdir, data, map(network, LABELS[::-1]))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory, drawn, write_run):
    workdir = tmp_path_factory.mktemp("volumes") / "run"
    workdir.mkdir()
    begin(workdir, {"name": "phantom_ct", **PHANTOMS}, drawn, write_run)
    return workdir


@pytest.fixture(scope="module")
def photos(tmp_path_factory, drawn, write_run):
    workdir = tmp_path_factory.mktemp("photos") / "run"
    rng = np.random.default_rng(0)
    for i, name in enumerate(2 * ("train/cat", "train/dog", "test/cat", "test/cat", "test/dog")):
        picture = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        (workdir / "data" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(workdir / "data" / name / f"{i}.png")
    begin(workdir, {"name": "folder", "path": str(workdir / "data")}, drawn, write_run, copies=2)
    return workdir


@pytest.mark.slow
def test_test_images_of_a_run(volumes, capsys):
    main(["gradcam", f"--workdir={volumes}", "--n=5"])
    path = volumes / "gradcam" / "index.html"
    assert capsys.readouterr().out == f"{path}\n"
    page = Page(path)
    # The order of the results; the variants of a pool stand together, the second run last.
    names = ["Rotation, Self-ASSL", "Rotation", "Rotation, second run", "From scratch"]
    words = ("Grad-CAM 2x3x3", "Guided")
    assert page.heads == ["Image", *(f"{name}: {word}" for name in names for word in words)]
    assert page.captions[::5] == ["deep", "lobar", "subarachnoid", "ventricular", "deep"]
    assert len(page.sources) == 5 * 9
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]


@pytest.mark.slow
def test_chosen_networks_and_a_folder_of_photographs(photos, tmp_path, capsys):
    rng = np.random.default_rng(1)
    (tmp_path / "mine" / "more").mkdir(parents=True)
    Image.fromarray(rng.integers(0, 256, (12, 16), dtype=np.uint8)).save(tmp_path / "mine/b.png")
    Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(
        tmp_path / "mine/more/c.JPG", "JPEG"
    )
    (tmp_path / "mine" / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    chosen = "--networks=scratch, rotation.self_assl"
    main(
        ["gradcam", f"--workdir={photos}", f"--images={tmp_path / 'mine'}", chosen, f"--out={out}"]
    )
    page = Page(out / "index.html")
    assert page.heads[1::2] == [
        *("From scratch: Grad-CAM 3x2", "Rotation, Self-ASSL: Grad-CAM 3x2")
    ]
    assert page.captions[::3] == ["b.png", "c.JPG"]
    assert not (photos / "gradcam").exists()
