"""Faults during a search: the same command ends with the results of a run without them.

pytest -m soak tests/runs/test_runs_faults.py
"""

import errno
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from whole_runs import TINY, run, small, start

from assl_jax import experiment
from assl_jax.errors import InputError
from assl_jax.files import disk_fault

KILLS = 30
WRITES = ("replace", "rename", "mkdir", "fsync")  # what every write on the disk goes through


class Killed(BaseException):
    """What no code catches: a process that ends in the middle of a write."""


def full_disk():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Fault:
    """Raises `error` at write number `at` of this process."""

    def __init__(self, patch, at, error):
        self.writes, self.at, self.error = 0, at, error
        for name in WRITES:
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real):
        def call(*arguments, **more):
            self.writes += 1
            if self.writes == self.at:
                raise self.error()
            return real(*arguments, **more)

        return call


@pytest.mark.soak
@pytest.mark.parametrize("error", [full_disk, Killed])
def test_a_fault_at_every_write(small_run, tmp_path, monkeypatch, capsys, error):
    expected = (small_run / "work" / "results.json").read_bytes()
    with monkeypatch.context() as patch:
        counter = Fault(patch, at=0, error=error)
        experiment.run(small(), tmp_path / "counted" / "work")
    told = []
    for at in range(1, counter.writes + 1):
        folder = tmp_path / str(at)
        with monkeypatch.context() as patch:
            fault = Fault(patch, at, error)
            try:
                experiment.run(small(), folder / "work")
            except Killed:
                pass
            except Exception as found:  # every one is reported, not the first alone
                if not isinstance(found, InputError) and disk_fault(found) is None:
                    told.append((at, repr(found)))
            if fault.writes < at:  # some writes happen once in a process
                break
        experiment.run(small(), folder / "work")
        if (folder / "work" / "results.json").read_bytes() != expected:
            told.append((at, "other results"))
        if left := [p for p in folder.rglob(".unfinished-*") if error is not Killed]:
            told.append((at, left))
        shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{error.__name__}: a fault at each of {at} writes, {len(told)} defects")
    assert not told


@pytest.mark.soak
def test_stopped_at_random_moments(finished, tmp_path, capsys):
    workdir, _, seconds = finished
    expected = (workdir / "results.json").read_bytes()
    # A background job of a shell ignores SIGINT, and so would the programs that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    numbers = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    stops, slowest, folder = [], 0.0, tmp_path / "0"
    while len(stops) < KILLS:
        process = start(*TINY, f"--workdir={folder / 'work'}")
        number, twice = draw.choice(list(numbers)), draw.random() < 0.2
        try:
            _, err = process.communicate(timeout=draw.uniform(0, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            asked = time.monotonic()
            process.send_signal(number)
            if twice:
                time.sleep(draw.uniform(0, 0.5))
                process.send_signal(number)
            _, err = process.communicate(timeout=600)
            slowest = max(slowest, time.monotonic() - asked)
            stops.append((number.name, twice, process.returncode, err[-300:]))
            line = err.splitlines()[-1] if err else ""
            polite = line.startswith("error: stopped") or process.returncode in (-2, -9, -15)
            assert process.returncode in (numbers[number], -number, 0) and polite, (seed, stops)
            if process.returncode:
                continue
        assert process.returncode == 0, (seed, err)
        assert (folder / "work" / "results.json").read_bytes() == expected, (seed, stops)
        folder = tmp_path / str(len(stops))
    with capsys.disabled():
        print(f"\n{len(stops)} stops, {slowest:.1f} s until the slowest end")
    assert slowest < 20


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["work", "stages"])
def test_a_folder_that_vanishes_under_a_running_search(finished, tmp_path, victim):
    workdir, _, seconds = finished
    expected = (workdir / "results.json").read_bytes()
    draw = random.Random(random.randrange(10**6))
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        process = start(*TINY, f"--workdir={folder / 'work'}")
        time.sleep(wait := draw.uniform(0.2, 0.9) * seconds)
        shutil.rmtree(folder / victim, ignore_errors=True)
        _, err = process.communicate(timeout=600)
        assert process.returncode in (0, 2) and "Traceback" not in err, (wait, err)
        status, _, err = run(*TINY, f"--workdir={folder / 'work'}")
        assert status == 0, (wait, err)
        assert (folder / "work" / "results.json").read_bytes() == expected, wait
