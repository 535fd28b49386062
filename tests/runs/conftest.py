"""A finished run that tests share."""

import time
from pathlib import Path

import pytest
from whole_runs import TINY, run, small

from assl_jax import experiment
from assl_jax.config_reading import typed


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Path, str, float]:
    """A finished run: its folder, what it printed, and how long it took."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    began = time.monotonic()
    status, out, err = run(*TINY, f"--workdir={workdir}")
    assert status == 0, err
    return workdir, out, time.monotonic() - began


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The folder of a finished run of `small`, with its stages."""
    folder = tmp_path_factory.mktemp("small")
    experiment.run(typed(small()), folder / "work")
    return folder
