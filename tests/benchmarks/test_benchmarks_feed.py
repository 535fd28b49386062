"""The feed benchmark: its smallest run, and its check of batches."""

import importlib.util

import numpy as np
import pytest

from assl_jax.training.feed import Examples
from benchmarks.feed import check_alike, write_images


@pytest.mark.long
def test_every_form_has_a_number(benchmark_run, positive):
    options = ["--images=40", "--batch=8", "--networks=none,tiny", "--steps=2", "--repeats=2"]
    printed, written = benchmark_run("feed", *options)
    assert written["bytes"] == 40 * 96 * 96 * 3
    assert [row["network"] for row in written["rows"]] == ["none", "tiny"]
    forms = ["device", "our thread"]
    if importlib.util.find_spec("grain"):
        forms += ["Grain, images", "Grain, batches"]
    for row in written["rows"]:
        assert list(row["times"]) == forms
        positive(row, *(f"{form} (images/s)" for form in forms))
        positive(row, *(f"{form} / device (time)" for form in forms[1:]))
    assert printed.strip().splitlines()[-1].startswith("| tiny | ")


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
