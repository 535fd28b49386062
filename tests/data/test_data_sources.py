"""The table of sources and the embedded digits."""

import inspect
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from assl_jax.data import SOURCES, load, source_of, source_settings
from assl_jax.errors import InputError
from assl_jax.ranges import Range


def test_importing_the_package_leaves_heavy_libraries_alone():
    code = (
        "import sys, assl_jax.data; "
        "print([m for m in ('sklearn', 'PIL', 'tensorflow_datasets', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WINDOWS = """
import sys
import types

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "grp", "pwd", "resource", "termios"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import assl_jax.data, assl_jax.files, assl_jax.console
print(assl_jax.data.load("digits", side=8).images.shape)
"""


@pytest.mark.slow
def test_the_package_needs_no_module_that_windows_lacks():
    code = [sys.executable, "-c", WINDOWS]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.stdout.strip() == "(1797, 8, 8, 1)", done.stderr


def test_the_example_source_of_the_documentation(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/adding_a_data_source.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope: dict = {"__name__": "arrays"}
    monkeypatch.setitem(sys.modules, "arrays", types.ModuleType("arrays"))
    exec(compile(block, "adding_a_data_source.md", "exec"), scope)
    monkeypatch.setitem(SOURCES, "arrays", scope["Arrays"])

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 4, 5, 1), dtype=np.uint8)
    labels = np.repeat([-1, 0, 1], 10)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    data = load("arrays", path=str(tmp_path), labels=6, test_fraction=0.3)
    np.testing.assert_array_equal(data.images, images)
    assert data.labels.tolist() == labels.tolist() and data.class_names == ("0", "1")
    assert 2 <= len(data.test) <= 12 and set(data.labels[data.test]) == {0, 1}
    assert np.bincount(data.labels[data.labelled_sets[0]]).tolist() == [3, 3]
    assert sorted([*data.unlabeled, *data.test]) == list(range(30))
    assert source_settings("arrays").keys() == {"path", "labels", "test_fraction", "seed"}
    for settings, message in (
        ({"labels": -1}, "data.labels=-1"),
        ({"path": "nowhere"}, "data.path='nowhere' does not exist"),
        ({"pth": "x"}, "did you mean 'path'"),
    ):
        with pytest.raises(InputError, match=message):
            load("arrays", **{"path": str(tmp_path)} | settings)


def test_a_function_of_keyword_arguments_is_a_source(monkeypatch):
    def tiny(*, side: Annotated[int, Range(at_least=2)] = 8, tags: tuple[str, ...] = ()):
        """A few digits."""
        assert isinstance(tags, tuple)
        return load("digits", side=side)

    monkeypatch.setitem(SOURCES, "tiny", tiny)
    assert source_settings("tiny") == {"side": 8, "tags": ()}
    assert source_of("tiny").__doc__ == "A few digits."
    assert load("tiny", side=4, tags=["a"]).space == (4, 4)
    with pytest.raises(InputError, match="data.side=1 must be at least 2; data.tags=.* be names"):
        load("tiny", side=1, tags=(1,))


@pytest.mark.parametrize("name", SOURCES)
def test_settings_are_keyword_only_and_typed_by_their_defaults(name):
    parameters = inspect.signature(SOURCES[name]).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    for value in source_settings(name).values():
        assert type(value) in (str, int, float, bool, tuple)


def test_unknown_names_show_the_nearest():
    with pytest.raises(InputError, match="digits"):
        load("digit")
    with pytest.raises(InputError, match="'side'"):
        load("digits", sid=8)
    with pytest.raises(InputError, match="stl10"):
        source_settings("stl-10")


@pytest.fixture(scope="module")
def digits():
    return load("digits", labels=100, side=16, test=503)


def test_digits_splits_are_even_and_cover_everything(digits):
    assert digits.images.shape == (1797, 16, 16, 1) and digits.images.dtype == np.uint8
    assert digits.num_classes == 10
    assert len(digits.test) == 503 and len(set(digits.keys)) == 1797
    assert [digits.keys[row] for row in digits.test] == [f"test/{row}" for row in digits.test]
    assert set(np.bincount(digits.labels[digits.test])) == {50, 51}
    (labelled,) = digits.labelled_sets
    assert np.bincount(digits.labels[labelled]).tolist() == [10] * 10
    assert np.isin(labelled, digits.unlabeled).all()
    together = np.sort(np.concatenate([digits.unlabeled, digits.test]))
    np.testing.assert_array_equal(together, np.arange(1797))


def test_digits_pixels_at_their_own_size():
    from sklearn.datasets import load_digits

    source = load_digits()
    data = load("digits", side=8)
    expected = source.images * 255 / 16
    assert np.abs(data.images[..., 0] - expected).max() <= 0.5
    np.testing.assert_array_equal(data.labels, source.target)
    seen = data.images[data.unlabeled] / 255
    assert data.intensity.mean[0] == pytest.approx(seen.mean(), abs=1e-5)
    assert data.intensity.std[0] == pytest.approx(seen.std(), abs=1e-5)


def test_digits_enlarged_keeps_the_picture(digits):
    # Bilinear doubling weighs two neighbours 1/4 and 3/4 along an axis, so the mean of the two
    # pixels that replace one is 1/8, 3/4, 1/8 of the original row (the edge repeats).
    small = load("digits", side=8).images[..., 0].astype(float)
    coarse = digits.images[..., 0].reshape(-1, 8, 2, 8, 2).mean((2, 4))
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 6 * padded[:, 1:-1] + padded[:, 2:]) / 8
    expected = (rows[..., :-2] + 6 * rows[..., 1:-1] + rows[..., 2:]) / 8
    assert np.abs(coarse - expected).max() <= 1


def test_digits_seed_and_zero_labels():
    a, b, c = (load("digits", side=8, seed=s, labels=0) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.test, b.test)
    assert not np.array_equal(a.test, c.test)
    np.testing.assert_array_equal(a.labelled_sets[0], a.unlabeled)
