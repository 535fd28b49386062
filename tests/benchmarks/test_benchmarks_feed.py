"""The feed benchmark: its smallest run, and its check of batches."""

import numpy as np
import pytest

from assl_jax.training.feed import Examples
from benchmarks.feed import check_alike, write_images


def test_batches_that_differ_are_noticed(tmp_path):
    images = write_images(tmp_path / "images.npy", 12)
    rows = [np.arange(4), np.arange(4, 8)]

    def right(rows):
        return (Examples(np.asarray(images[of]), None) for of in rows)

    check_alike({"right": right}, images, rows)
    with pytest.raises(AssertionError):
        check_alike({"turned": lambda rows: right(rows[::-1])}, images, rows)
    with pytest.raises(SystemExit, match="short gives 1 batches of 2"):
        check_alike({"short": lambda rows: right(rows[:1])}, images, rows)
