"""`--jobs`: several processes of one machine share the work of a run."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from whole_runs import TINY, read, run, start

from assl_jax import jobs
from assl_jax.errors import InputError

JOBS = (*TINY, "--jobs=2")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_two_jobs_give_the_results_of_one_and_share_the_work(finished, tmp_path):
    status, out, err = run(*JOBS, f"--workdir={tmp_path / 'work'}")
    assert status == 0, err
    assert read(tmp_path / "work") == read(finished[0])
    computed = {stage.name for stage in (tmp_path / "stages").iterdir()}
    assert computed == {stage.name for stage in (finished[0].parent / "stages").iterdir()}
    # The lines of what this process trained; those of the other process are not shown.
    own = set(re.findall(r"^((?:pretrain|fine-tune|cross-validate) \S+): ", err, re.M))
    trained = [name for name in computed if re.match("pretrain-|finetune-|select-", name)]
    assert 0 < len(own) < len(trained)
    assert "exit status" not in err and str(tmp_path / "work" / "report" / "index.html") in out


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_with_the_process_that_started_it(tmp_path, number):
    process = start(*JOBS, f"--workdir={tmp_path / 'work'}")
    try:
        wait_until(lambda: children(process.pid))
        (helper,) = children(process.pid)
        wait_until(lambda: list(tmp_path.glob("stages/*/checkpoints/*")))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        wait_until(lambda: gone(helper), 60)
    finally:
        process.kill()
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), err
    assert number == signal.SIGKILL or len(err.split("error: ")) == 2


def test_a_job_that_fails_is_named(capsys):
    with jobs.helpers(["nonsense"], [set(), set()]):
        pass
    for number, line in enumerate(capsys.readouterr().err.splitlines(), 1):
        assert line.startswith(
            f"job {number} failed with exit status 2: command='nonsense' is unknown"
        )
    assert number == 2


def test_no_job_is_started_where_none_is_wanted(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with jobs.helpers(["run"], []):
        pass


def test_an_error_stops_the_jobs(monkeypatch):
    started = []
    real = subprocess.Popen
    code = "from assl_jax import jobs, signals; import time\nwith signals.stoppable():\n"
    code += "    jobs.stop_with_parent()\n    print(flush=True)\n    time.sleep(100)"

    def popen(command, **more):
        started.append(real([sys.executable, "-c", code], **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(InputError), jobs.helpers([], [set(), set()]):
        raise InputError("a mistake")
    assert [process.poll() is not None for process in started] == [True, True]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    ("processors", "parts"),
    [
        ({0, 1, 2, 3, 8}, [{0, 2, 8}, {1, 3}]),
        ({4}, [{4}, {4}]),  # fewer than jobs: they share it
    ],
)
def test_jobs_divide_the_processors_and_the_memory_of_a_gpu(monkeypatch, processors, parts):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "")  # so that it is put back
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION")
    taken = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: processors)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, part: taken.append((pid, part)))
    assert jobs.divide(2) == parts
    assert taken == [(0, parts[0])]
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    jobs.divide(6)  # what is set already stays
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"


def test_a_single_job_keeps_the_machine(monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", None)
    assert jobs.divide(1) == [set()]
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ
