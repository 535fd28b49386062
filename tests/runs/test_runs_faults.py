"""Faults during a search: the same command ends with the results of a run without them.

pytest -m soak tests/runs/test_runs_faults.py
"""

import collections
import contextlib
import errno
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from whole_runs import TINY, run, small, start

from assl_jax import experiment, files
from assl_jax.config_reading import typed
from assl_jax.errors import InputError
from assl_jax.files import disk_fault

WRITES = ("replace", "rename", "mkdir", "fsync")  # what every write on the disk goes through


class Faults:
    """In each run the disk is full from one write on: the first that no earlier run failed at.

    A write is known by its function, its files, and how often this run has written them. `killed`
    leaves the folder as it is at that moment, whatever the program then does to it.
    """

    def __init__(self, folder, killed):
        self.folder, self.killed = folder, killed
        self.struck = set()
        self.kept = folder.with_name("kept")

    @contextlib.contextmanager
    def next_run(self, patch):
        written = collections.Counter()
        began = len(self.struck)

        def striking(name, real):
            def call(*arguments, **more):
                write = name, *map(stable, arguments[:2])
                written[write] += 1
                once = *write, written[write]
                full = len(self.struck) > began
                if (self.killed and full) or (not full and once in self.struck):
                    return real(*arguments, **more)
                if not full:
                    self.struck.add(once)
                if self.killed:  # not `copytree`, which makes folders with `os.mkdir`
                    subprocess.run(["cp", "-a", self.folder, self.kept], capture_output=True)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            return call

        try:
            with patch.context() as inside:
                inside.setattr(files, "_temporary", telling)
                for name in WRITES:
                    inside.setattr(os, name, striking(name, getattr(os, name)))
                yield
        finally:
            if self.kept.exists():
                shutil.rmtree(self.folder)
                self.kept.rename(self.folder)


def telling(path):
    """A temporary name that tells of which file it is."""
    return path.with_name(f"{files.UNFINISHED}{uuid.uuid4().hex}{path.name}")


def stable(argument):
    """A file of a write, by name or by number, without what is drawn or counted."""
    if isinstance(argument, int) and (opened := Path(f"/proc/self/fd/{argument}")).exists():
        argument = opened.readlink()
    return re.sub(r"[0-9a-f]{32}|\d{6,}", "", str(argument))


@pytest.mark.soak
# Orbax's own threads end with the error of the disk too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("killed", [False, True], ids=["full disk", "killed"])
def test_a_fault_at_every_write(small_run, tmp_path, monkeypatch, capsys, killed):
    expected = (small_run / "work" / "results.json").read_bytes()
    folder = tmp_path / "search"
    folder.mkdir()
    faults, told = Faults(folder, killed), []
    for at in itertools.count(1):
        try:
            with faults.next_run(monkeypatch):
                experiment.run(typed(small()), folder / "work")
        except Exception as found:  # every one is reported, not the first alone
            if not isinstance(found, InputError) and disk_fault(found) is None:
                told.append((at, repr(found)))
        if len(faults.struck) < at:
            break
        if not killed and (left := list(folder.rglob(f"{files.UNFINISHED}*"))):
            told.append((at, left))
    with capsys.disabled():
        print(f"\na fault at each of {at - 1} writes, {len(told)} defects")
    assert not told
    assert (folder / "work" / "results.json").read_bytes() == expected


@pytest.mark.parametrize(
    "kills",
    [pytest.param(3, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.soak)],
)
def test_stopped_at_random_moments(finished, tmp_path, capsys, kills):
    workdir, _, seconds = finished
    expected = (workdir / "results.json").read_bytes()
    # A background job of a shell ignores SIGINT, and so would the programs that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    numbers = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    stops, slowest, folder = [], 0.0, tmp_path / "0"
    while len(stops) < kills:
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
            told = re.fullmatch("error: stopped.*; run the same command again to continue", line)
            polite = told or process.returncode in (0, -2, -9, -15)
            assert process.returncode in (numbers[number], -number, 0) and polite, (seed, stops)
            if process.returncode:
                continue
        assert process.returncode == 0, (seed, err)
        assert (folder / "work" / "results.json").read_bytes() == expected, (seed, stops)
        folder = tmp_path / str(len(stops))
    status, _, err = run(*TINY, f"--workdir={folder / 'work'}")
    assert status == 0, (seed, stops, err)
    assert (folder / "work" / "results.json").read_bytes() == expected, (seed, stops)
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
