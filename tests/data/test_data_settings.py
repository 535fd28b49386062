"""The settings that sources share."""

import pytest

from assl_jax.data import source
from assl_jax.data.settings import existing_file, existing_folder
from assl_jax.errors import InputError

CASES = {  # good values, bad values, the end of the message
    "alpha": (["white", "drop"], ["black"], "(one of white, drop)"),
    "channels_axis": (["auto", "first", "last", "none"], ["2"], "(one of auto, first, last, none)"),
    "pages": (["one", "middle"], ["all"], "(one of one, first, middle, channels)"),
    "val": (["train", "ignore"], ["use"], "(one of train, unlabeled, test, ignore)"),
    "labels": ([0, 5], [-1], "must be at least 0"),
    "on_error": (["raise", "skip"], ["ignore", ""], "(one of raise, skip)"),
    "seed": ([0, 7], [-1, 2**32], "must be at least 0 and below 4294967296"),
    "side": ([0, 32], [-1, 10**5], "must be at least 0 and at most 8192"),
    "test_fraction": ([0.01, 0.99], [0.0, 1.0, -0.5, float("nan")], "must be above 0 and below 1"),
}


SOURCE = {"channels_axis": "npz"}  # of a setting; otherwise `folder`


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    good, bad, words = CASES[name]
    for value in good:
        source(SOURCE.get(name, "folder"), **{name: value})
    for value in bad:
        with pytest.raises(InputError, match=f"^data.{name}={value!r} ") as caught:
            source(SOURCE.get(name, "folder"), **{name: value})
        assert str(caught.value).endswith(words)


def test_all_bad_settings_are_reported():
    with pytest.raises(InputError) as caught:
        source("folder", seed=0, labels=-1, test_fraction=2.0)
    assert str(caught.value) == (
        "data.labels=-1 must be at least 0; data.test_fraction=2.0 must be above 0 and below 1"
    )


def test_paths(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    assert existing_folder(str(tmp_path), "a folder") == tmp_path
    assert existing_file(str(file), "a file") == file
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert existing_file("~/file", "a file") == file
    for function, path, message in (
        (existing_folder, "", "data.path is empty; name the thing"),
        (existing_file, "", "data.path is empty; name the thing"),
        (existing_folder, str(tmp_path / "x"), "does not exist; name the thing"),
        (existing_file, str(tmp_path / "x"), "does not exist; name the thing"),
        (existing_folder, str(file), "is a file, not a folder; name the thing"),
        (existing_file, str(tmp_path), "is a folder, not a file; name the thing"),
        (existing_file, "~nobody-of-this-name/x", "data.path='~nobody"),
    ):
        with pytest.raises(InputError, match=message):
            function(path, "the thing")
