"""Files that are changed at random are read, or refused in one clear line.

pytest -m soak tests/fuzz
"""

import collections
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import fuzz_cases
import fuzz_mutations
import numpy as np
import pytest
from fuzz_cases import Outcome
from fuzz_formats import FORMATS

CASES = 100_000
SAMPLE = 200  # of them, among the fast tests
CHUNK = 10_000  # cases of one process
WAIT = 120  # seconds without an answer of a process that stand for a hang
RIGHT = (fuzz_cases.READ, fuzz_cases.REFUSED)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@linux
@pytest.mark.parametrize("format", FORMATS)
def test_changed_files_are_read_or_refused(format, tmp_path):
    count = SAMPLE * FORMATS[format].share // 100
    with fuzz_cases.limits():
        found = [fuzz_cases.run_case(format, n, tmp_path / str(n)) for n in range(count)]
    assert not [(n, each) for n, each in enumerate(found) if each.kind not in RIGHT]
    assert max(each.growth for each in found) < fuzz_cases.BYTES
    assert {each.kind for each in found} == set(RIGHT)  # the cases are neither all good nor all bad


@linux
@pytest.mark.parametrize("format", FORMATS)
def test_valid_files_are_read(format, tmp_path):
    fuzz_cases.warm(format, tmp_path)


def misbehave(name, path):
    """A reader with every kind of defect."""
    match name:
        case "ValueError":
            raise ValueError("not for users")
        case "memory":
            try:
                bytearray(2 * fuzz_cases.BYTES)
            except MemoryError as error:
                from assl_jax.errors import InputError

                raise InputError("broken") from error
        case "TooLong":
            while True:
                pass
        case "noise":
            os.write(2, b"a library's own line")


@linux
@pytest.mark.parametrize("kind", ["ValueError", "memory", "TooLong", "noise"])
def test_every_kind_of_defect_is_noticed(kind, tmp_path, monkeypatch):
    format = FORMATS["csv"]._replace(read=lambda path, file, pick: misbehave(kind, path))
    monkeypatch.setitem(FORMATS, "csv", format)
    monkeypatch.setattr(fuzz_cases, "SECONDS", 0.05)
    with fuzz_cases.limits(fuzz_cases.BYTES):
        assert fuzz_cases.run_case("csv", 0, tmp_path / "0").kind == kind
    assert list((tmp_path / "0").iterdir())  # the files of a defect are kept


def test_a_case_is_the_same_each_time(tmp_path):
    contents = []
    for again in ("a", "b"):
        (tmp_path / again).mkdir()
        name, _ = fuzz_cases.prepare("image", 7, tmp_path / again)
        contents.append((tmp_path / again / name).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("mutate", fuzz_mutations.BYTES, ids=lambda f: f.__name__)
def test_a_mutation_changes_its_file(mutate):
    content = bytes(range(256)) * 4
    results = {mutate(np.random.default_rng(n), content) for n in range(20)}
    assert results != {content}


def answers(process):
    """The lines of a process, which is killed when it has been silent for `WAIT`."""
    while True:
        timer = threading.Timer(WAIT, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line:
            return
        yield line


def run_chunk(format, first, count):
    """The outcomes of a chunk, by number; a process that dies or hangs is a defect of its case."""
    found, end = {}, first + count
    while first < end:
        command = [sys.executable, fuzz_cases.__file__, format, str(first), str(end - first)]
        pipe, env = subprocess.PIPE, os.environ | {"JAX_PLATFORMS": "cpu"}
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env) as process:
            lines = answers(process)
            ready = next(lines, "")
            for line in lines:
                number, kind, seconds, growth, detail = line.split(" ", 4)
                found[int(number)] = Outcome(kind, float(seconds), int(growth), detail)
                first = int(number) + 1
            errors = process.stderr.read()
        assert ready, f"{command} does not begin: {errors}"
        if first < end:
            kind = "hang" if process.returncode == -signal.SIGKILL else "crash"
            found[first] = Outcome(kind, 0.0, 0, errors[-2000:])
            first += 1
    return found


DYING = """
import os, sys, time
first = int(sys.argv[2])
print("ready", flush=True)
if first == 2:
    time.sleep(60)
print(first, "read 0.5 7 ''", flush=True)
if first == 0:
    os.kill(os.getpid(), 11)
"""


@linux
def test_a_process_that_dies_or_hangs_names_its_case(tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text(DYING)
    monkeypatch.setattr(fuzz_cases, "__file__", str(tmp_path / "worker.py"))
    monkeypatch.setitem(globals(), "WAIT", 1.5)
    kinds = {number: each.kind for number, each in run_chunk("csv", 0, 4).items()}
    assert kinds == {0: "read", 1: "crash", 2: "hang", 3: "read"}
    (tmp_path / "worker.py").write_text("import nothing_of_this_name")
    with pytest.raises(AssertionError, match="(?s)does not begin: .*nothing_of_this_name"):
        run_chunk("csv", 0, 4)


@linux
@pytest.mark.soak
def test_a_hundred_thousand_changed_files(capsys):
    shares = {name: CASES * format.share // 100 for name, format in FORMATS.items()}
    chunks = [
        (name, first, min(CHUNK, share - first))
        for name, share in shares.items()
        for first in range(0, share, CHUNK)
    ]
    outcomes, defects = collections.defaultdict(list), []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = pool.map(lambda chunk: run_chunk(*chunk), chunks)
        for (name, *_), found in zip(chunks, done, strict=True):
            outcomes[name] += found.values()
            defects += [(name, n, each) for n, each in found.items() if each.kind not in RIGHT]
    with capsys.disabled():
        print("\nformat          cases     read  refused  defects  slowest s  largest MB")
        for name, found in outcomes.items():
            kinds = collections.Counter(each.kind for each in found)
            wrong = len(found) - kinds["read"] - kinds["refused"]
            slowest, largest = (max(each[k] for each in found) for k in (1, 2))
            counts = "".join(
                f"{n:>9}" for n in (len(found), kinds["read"], kinds["refused"], wrong)
            )
            print(f"{name:<12}{counts}{slowest:>11.2f}{largest / 1e6:>12.0f}")
        for name, number, each in defects:
            print(f"{name} {number}: {each.kind} {each.detail[:100]} ... {each.detail[-300:]}")
    assert sum(map(len, outcomes.values())) >= CASES
    assert not defects
