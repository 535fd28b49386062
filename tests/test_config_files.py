"""Configs by name and by path."""

import sys
from pathlib import Path

import pytest

from assl_jax.config_files import find, load
from assl_jax.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Any folder but the project's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in sys.path if Path(p).resolve() != ROOT])


@pytest.mark.parametrize(
    "config, stem, word",
    [
        ("mtassl_digits", "mtassl_digits", ""),
        ("pairs:stl10", "pairs", "stl10"),
        ("pretrain:module:source", "pretrain", "module:source"),
        ("mine.py", "mine", ""),
        ("mine.py:a:b", "mine", "a:b"),
    ],
)
def test_a_name_or_a_path_and_the_word_after_it(config, stem, word, tmp_path):
    (tmp_path / "mine.py").write_text("")
    file, found = find(config)
    assert (file.stem, found) == (stem, word)


@pytest.mark.parametrize(
    "config, says",
    [
        ("", "config='' is unknown"),
        ("configs/nothing.py", "configs/nothing.py cannot be read"),
        ("pairs:digitz", "did you mean 'mtassl_digits'"),
    ],
)
def test_a_config_that_cannot_be_used(config, says):
    with pytest.raises(InputError) as error:
        load(config)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_users_config_may_start_from_another(tmp_path):
    (tmp_path / "shared.py").write_text("SEED = 7\n")
    (tmp_path / "mine.py").write_text(
        "from assl_jax.config_files import load\nfrom shared import SEED\n\n\n"
        "def get_config(name):\n    config = load(name)\n    config.seed = SEED\n"
        "    return config\n"
    )
    assert load("mine.py:mtassl_digits").seed == 7
    assert load("mtassl_digits").seed == 0
