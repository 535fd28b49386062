"""The settings that sources share: one rule and one message each."""

import pytest

from assl_jax.data.settings import RULES, check, existing_file, existing_folder
from assl_jax.errors import InputError

CASES = {  # good values, bad values
    "channels": ([0, 1, 3], [2, -1, 4]),
    "labels": ([0, 5], [-1]),
    "on_error": (["raise", "skip"], ["ignore", ""]),
    "seed": ([0, 7], [-1]),
    "test_fraction": ([0.01, 0.99], [0.0, 1.0, -0.5, float("nan")]),
}


def test_every_rule_has_cases():
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    good, bad = CASES[name]
    for value in good:
        check(**{name: value})
    for value in bad:
        with pytest.raises(InputError, match=f"^data.{name}={value!r} must ") as caught:
            check(**{name: value})
        assert str(caught.value).endswith(RULES[name].text)


def test_the_first_broken_rule_is_reported():
    check(labels=3, seed=0)
    with pytest.raises(InputError, match="^data.labels=-1 must be 0"):
        check(seed=0, labels=-1, test_fraction=2.0)


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
