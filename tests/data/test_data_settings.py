"""The settings that sources share."""

import pytest

from assl_jax.data import source
from assl_jax.data.settings import existing_file, existing_folder
from assl_jax.errors import InputError


def test_all_bad_settings_are_reported():
    bad = {"labels": -1, "test_fraction": 2.0, "side": 10**5, "pages": "all", "alpha": "black"}
    with pytest.raises(InputError) as caught:
        source("folder", seed=0, **bad)
    for words in (
        "data.labels=-1 must be at least 0; ",
        "data.test_fraction=2.0 must be above 0 and below 1",
        "data.side=100000 must be at least 0 and at most 8192",
        "(one of one, first, middle, channels)",
        "(one of white, drop)",
    ):
        assert words in str(caught.value)


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
