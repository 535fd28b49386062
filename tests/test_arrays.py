"""`assl_jax.search`: experiments on arrays in memory."""

import jax
import numpy as np
import pytest
from networks import network_of
from whole_runs import SMALL, read, snapshot

import assl_jax
from assl_jax.config import base_config
from assl_jax.config_reading import typed
from assl_jax.data.in_memory import in_memory
from assl_jax.errors import InputError
from assl_jax.experiment import run
from assl_jax.strategies.engines import Processes
from assl_jax.training.sharding import make_mesh

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 16, 16, 1), dtype=np.uint8)
CLASSES = np.arange(16) % 2
FEW, TEST = (IMAGES[:16], CLASSES), (255 - IMAGES[:16], CLASSES)
SETTINGS = {key: value for key, value in SMALL.items() if not key.startswith("data.")}


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """It compiles faster than for eight."""
    one = make_mesh(jax.devices()[:1])
    monkeypatch.setattr("assl_jax.studies.make_mesh", lambda: one)


def search(folder, *arrays, settings=SETTINGS, **more):
    return assl_jax.search(*arrays, workdir=folder / "work", settings=settings, **more)


@pytest.mark.slow
def test_a_search_and_the_same_one_again(tmp_path):
    """The second call reads everything; arrays that have changed need another folder."""
    found = search(tmp_path, IMAGES[16:], FEW, TEST, class_names=("cat", "dog"))
    assert found == read(tmp_path / "work")
    assert (found.data, found.space, found.classes) == ("memory", (16, 16), ("cat", "dog"))
    assert (found.labels, found.test_images) == (16, 16)
    assert set(found.singles) == {"rotation", "src"} and found.best
    page = (tmp_path / "work" / "report" / "index.html").read_text()
    assert "Rotation" in page and "dog" in page
    before = snapshot(tmp_path)
    assert search(tmp_path, IMAGES[16:], FEW, TEST, class_names=("cat", "dog")) == found
    assert snapshot(tmp_path) == before
    with pytest.raises(InputError, match=r"another config \(different: data.arrays\)"):
        search(tmp_path, IMAGES[16:], FEW, (IMAGES[:16], CLASSES[::-1]))
    assert snapshot(tmp_path) == before


def test_a_pretraining_needs_no_labels(tmp_path):
    settings = SETTINGS | {"experiment": "pretrain", "tasks": "rotation"}
    found = search(tmp_path, IMAGES, settings=settings)
    assert found.pretrained == network_of("rotation") and found.best is None
    module, variables = assl_jax.load_backbone(tmp_path / "work")
    x = assl_jax.load_intensity(tmp_path / "work")(IMAGES[:2])
    assert np.isfinite(module.apply(variables, x)["pooled"]).all()


def test_the_parts_of_the_data_set():
    data = in_memory(IMAGES[16:], FEW, TEST)
    np.testing.assert_array_equal(data.images[data.unlabeled], np.r_[IMAGES[16:], IMAGES[:16]])
    np.testing.assert_array_equal(data.images[data.labelled_sets[0]], IMAGES[:16])
    np.testing.assert_array_equal(data.images[data.test], TEST[0])
    np.testing.assert_array_equal(data.labels[data.test], CLASSES)
    assert (data.labels[:8] == -1).all() and data.class_names == ("0", "1")
    assert (data.intensity.low, data.intensity.high) == (0, 255)


def test_the_range_of_other_integers_is_that_of_what_is_trained_on():
    wide = IMAGES.astype(np.int16) - 100
    data = in_memory(wide, (wide[:16], CLASSES), (wide[:16] * 3, CLASSES))
    assert (data.intensity.low, data.intensity.high) == (wide.min(), wide.max())


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (
            (IMAGES[..., 0], FEW),
            "unlabeled: images must be uint8 or int16 .* not uint8 .24, 16, 16",
        ),
        ((IMAGES / 255, FEW), "unlabeled: images must be .* not float64"),
        ((IMAGES, (IMAGES[:16, :8], CLASSES)), r"labelled: .* \[8, 16, 1\], the unlabeled ones"),
        ((IMAGES, FEW, (IMAGES.astype(np.int16)[:16], CLASSES)), "test: images are int16"),
        ((IMAGES, (IMAGES, CLASSES)), "labelled: the classes must be 24 whole numbers from 0"),
        ((IMAGES, (IMAGES[:16], CLASSES - 1)), "labelled: the classes must be 16 whole numbers"),
        ((IMAGES, FEW, (IMAGES[:16], CLASSES * 1.0)), "test: the classes must be 16 whole"),
        ((IMAGES, IMAGES), "labelled must be a pair: images, and their classes"),
        ((IMAGES, FEW, TEST, ("cat",)), "class_names has 1 names, .* go up to 1"),
        ((IMAGES, None, TEST), "test images need labelled ones"),
    ],
)
def test_arrays_that_cannot_be_used_are_one_line(arrays, says):
    with pytest.raises(InputError, match=says) as raised:
        in_memory(*arrays)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"pretrain.stps": 3, "target.folds": 1, "joint.weight": 2.0},
            ["joint.weight is gone", "did you mean 'pretrain.steps'?", "target.folds=1: "],
        ),
        ({"tasks": "srk", "pretrain.steps": "many"}, ["did you mean 'src'?", "must be a number"]),
        ({"tasks": ("src", "rotation")}, ["must be a text, as in 'src,rotation'"]),
        ({"data.name": "digits"}, ["data.name: the images are arrays here; leave it out"]),
        ({"pretrain.batch_size": 48}, ["pretrain.batch_size=48 is larger than the data"]),
    ],
)
def test_mistakes_in_settings_are_told_at_once(settings, says, tmp_path):
    with pytest.raises(InputError) as raised:
        search(tmp_path, IMAGES[16:], FEW, TEST, settings=SETTINGS | settings)
    assert len(raised.value.lines) == len(says)
    for line, words in zip(raised.value.lines, says, strict=True):
        assert words in line and "\n" not in line
    assert not list(tmp_path.iterdir())


def test_a_search_needs_labels(tmp_path):
    with pytest.raises(InputError, match="the data have no labels"):
        search(tmp_path, IMAGES)
    assert not list(tmp_path.iterdir())


def test_images_in_memory_are_of_one_process(tmp_path):
    data, config = in_memory(IMAGES, FEW, TEST), typed(base_config("memory"))
    with pytest.raises(InputError, match="images in memory are of this process"):
        run(config, tmp_path / "work", dataset=data, engine=Processes(2))
    assert not list(tmp_path.iterdir())
