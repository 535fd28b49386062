"""`--jobs`: several processes of one machine share the work of a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from whole_runs import ENVIRONMENT, ROOT, TINY, read, small, start

from assl_jax import experiment, records
from assl_jax.config_reading import typed
from assl_jax.errors import InputError
from assl_jax.records import StageRecord
from assl_jax.store import open_store

JOBS = (*TINY, "--jobs=2")
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


def computing(pid: int) -> list[int]:
    """The processes that compute stages for one: not those that track what they share."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(each): Path(f"/proc/{each}/cmdline").read_bytes() for each in found}
    return [each for each, line in lines.items() if b"spawn_main" in line]


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


def stages(folder: Path) -> dict[str, StageRecord]:
    return {p.parent.name: records.read(p, StageRecord) for p in folder.glob("stages/*/done.json")}


@pytest.mark.slow
@NEEDS_PROC
@pytest.mark.parametrize("killed", [False, True], ids=["whole", "a worker is killed"])
def test_two_jobs_give_the_results_of_one(finished, tmp_path, killed):
    """A stage whose worker is killed is done by another one."""
    process = start(*JOBS, f"--workdir={tmp_path / 'work'}")
    try:
        if killed:
            wait_until(lambda: list(tmp_path.glob("stages/*/checkpoints/*")))
            os.kill(computing(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert read(tmp_path / "work") == read(finished[0])
    assert set(stages(tmp_path)) == set(stages(finished[0].parent))
    assert "error" not in err and str(tmp_path / "work" / "report" / "index.html") in out


@pytest.mark.slow
@NEEDS_PROC
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(tmp_path, number):
    process = start(*JOBS, f"--workdir={tmp_path / 'work'}")
    try:
        wait_until(lambda: list(tmp_path.glob("stages/*/checkpoints/*")))
        workers = computing(process.pid)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        wait_until(lambda: all(map(gone, workers)), 60)
    finally:
        process.kill()
    assert len(workers) == 2
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), err
    assert number == signal.SIGKILL or len(err.split("error: ")) == 2


FIND = """
import json, sys
from assl_jax import experiment
from assl_jax.config_reading import typed
from assl_jax.store import open_store
from whole_runs import small

config = typed(small())
run = experiment.Run(config, config.data.load(), open_store(sys.argv[1]))
print(json.dumps([run.find(name).name for name in json.loads(sys.argv[2])]))
"""


@pytest.mark.slow
def test_another_process_finds_every_stage_of_the_plan_by_its_name(small_run):
    """The plan is pure: it depends on the config, the data and what is finished."""
    names = sorted(stages(small_run))
    path = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(ROOT)])
    # With the devices of this process.
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    arguments = [sys.executable, "-c", FIND, str(small_run / "stages"), json.dumps(names)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == names


@pytest.mark.slow
def test_a_stage_that_the_plan_does_not_have_is_one_line(tmp_path):
    config = typed(small())
    data = config.data.load()
    first = next(experiment.Run(config, data, open_store(tmp_path)).plan)[0]
    whole = experiment.Run(config, data, open_store(tmp_path))
    assert whole.find(first.name) == first
    with pytest.raises(InputError, match="the plan has no stage nothing yet; start all workers wi"):
        whole.find("nothing")
    assert not list(tmp_path.iterdir())
