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
    for function, path, words in (
        (existing_folder, file, "is a file, not a folder; name a thing"),
        (existing_file, tmp_path, "is a folder, not a file; name a thing"),
    ):
        with pytest.raises(InputError, match=words):
            function(str(path), "a thing")
