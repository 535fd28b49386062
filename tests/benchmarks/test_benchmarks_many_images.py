"""A folder of many images as a benchmark makes and reads it, with few."""

import numpy as np

from assl_jax.data import load
from benchmarks import many_images


def test_a_folder_is_made_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(many_images, "DIFFERENT", 3)
    monkeypatch.setattr(many_images, "LABELLED", {"train": 2, "test": 3})
    many_images.make(tmp_path / "images", 7, side=8)
    data = load("folder", path=str(tmp_path / "images"))
    assert (len(data.unlabeled), len(data.test), data.space) == (7, 6, (8, 8))
    assert len(np.unique(data.digests, axis=0)) == 3
    found = many_images.measure(tmp_path / "images", tmp_path / "cache")
    assert all(value > 0 for value in found.values()) and any((tmp_path / "cache").iterdir())
    # A later start reads the cache, which has an entry already.
    entries = sorted(path.name for path in (tmp_path / "cache").iterdir())
    many_images.measure(tmp_path / "images", tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == entries
