"""The cache of finished stages."""

import errno
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from assl_jax import records
from assl_jax.errors import InputError, Interrupted
from assl_jax.records import Features, Folds, Pretrained
from assl_jax.strategies import stages as module
from assl_jax.strategies.stages import StageCache
from assl_jax.training import memory
from assl_jax.training.metrics_log import MetricsLog


class Work:
    """A computation that counts how often it runs."""

    def __init__(self, result=None):
        self.result, self.runs = result or Pretrained(), 0

    def __call__(self, folder):
        self.runs += 1
        (folder / "weights").write_text(f"run {self.runs}")
        return self.result


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(work, kind, label, settings, code="1", cache=None)`: the stage in a (new) cache."""
    monkeypatch.setattr(module, "code_digest", lambda *code: "code " + code[0])

    def once(work, kind="pretrain", label="a", settings=(), *, code="1", cache=None, **more):
        cache = cache or StageCache(tmp_path)
        return cache.run(kind, label, dict(settings), work, code=[code], **more)

    return once


def test_runs_once_and_is_read_afterwards(run, tmp_path):
    work = Work(Folds(metrics={"accuracy": (0.1 + 0.2, 1.0)}))
    first = run(work, "select", "a+b", {"seed": 0, "delay": (1, 2)})
    later = StageCache(tmp_path)
    second = run(work, "select", "a+b", {"seed": 0, "delay": [1, 2]}, cache=later)
    assert work.runs == 1
    assert first.folder == second.folder and later.finished == [second]
    assert second.record.result == Folds(metrics={"accuracy": (0.1 + 0.2, 1.0)})
    assert second.record.seconds >= 0 and second.record.images_per_s is None
    assert second.record.peak_host_bytes > 2**20 and second.record.peak_device_bytes is None
    name = f"select-a+b-{first.settings_key}-{first.code_key}"
    assert first.folder == tmp_path / name
    done = json.loads((first.folder / "done.json").read_text())
    assert done["settings"] == {"seed": 0, "delay": [1, 2]} and done["label"] == "a+b"
    assert done["code"] == "code 1" and "commit" in done


def test_memory_and_speed_are_measured_around_the_work_and_logged(run):
    def compute(folder):
        line = records.LogRecord(
            stage=folder.name,
            kind="pretrain",
            label="vgg16/a",
            task="a",
            step=7,
            values={"loss": 1.0, "images_per_s": 3.0},
        )
        (folder / "metrics.jsonl").write_text(line.to_line() + "\n")
        np.ones(200 * 10**6, np.uint8)
        return Pretrained()

    small = run(Work(), "features")
    large = run(compute)
    assert large.record.images_per_s == 3.0
    if memory._clear_host_peak():  # elsewhere the peak is that of the process so far
        assert large.record.peak_host_bytes - small.record.peak_host_bytes > 190 * 10**6
    assert not (small.folder / "metrics.jsonl").exists()
    *_, last = MetricsLog(large.folder).read()
    assert (last.stage, last.label, last.task, last.step) == (
        large.folder.name,
        "vgg16/a",
        "memory",
        7,
    )
    assert last.values["peak_host_gib"] == large.record.peak_host_bytes / 2**30


def test_a_stage_asked_for_twice_is_listed_once(run, tmp_path):
    cache, work = StageCache(tmp_path), Work()
    for _ in range(2):
        stage = run(work, cache=cache)
    assert cache.finished == [stage]


def test_other_settings_kinds_and_parents_are_other_folders(run, tmp_path):
    cache, work = StageCache(tmp_path), Work()
    one = run(work, settings={"seed": 0}, cache=cache)
    two = run(work, settings={"seed": 1}, cache=cache)
    stages = [
        one,
        two,
        run(work, "features", settings={"seed": 0}, cache=cache),
        run(work, "features", settings={"seed": 0}, cache=cache, parents=[one]),
        run(work, "features", settings={"seed": 0}, cache=cache, parents=[two]),
    ]
    assert work.runs == 5 and len({s.folder for s in stages}) == 5
    assert cache.finished == stages


def test_deleting_a_folder_recomputes_exactly_that(run):
    one, two = Work(), Work()

    def both():
        return run(one, label="one"), run(two, label="two")

    first, _ = both()
    shutil.rmtree(first.folder)
    both()
    assert (one.runs, two.runs) == (2, 1)


def test_a_crash_leaves_no_result_and_the_work_so_far(run, tmp_path):
    def crash(folder):
        (folder / "checkpoint").write_text("half")
        raise RuntimeError("power cut")

    cache = StageCache(tmp_path)
    with pytest.raises(RuntimeError, match="power cut"):
        run(crash, cache=cache)
    (folder,) = tmp_path.iterdir()
    assert {p.name for p in folder.iterdir()} == {".lock", "checkpoint"} and cache.finished == []

    def resume(same):
        assert same == folder and (same / "checkpoint").read_text() == "half"
        return Features(n=1, d=2)

    assert run(resume, cache=cache).record.result == Features(n=1, d=2)


def changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": changed,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "other bytes": lambda path: path.write_bytes(b"\xff\x00" * 40),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["weights", "done.json", "deep/er/array"])
def test_a_damaged_stage_alone_is_computed_again_which_is_said(run, capsys, name, damage):
    class Deep(Work):
        def __call__(self, folder):
            (folder / "deep" / "er").mkdir(parents=True)
            (folder / "deep" / "er" / "array").write_text("some numbers")
            return super().__call__(folder)

    one, two = Deep(), Deep()
    stage = run(one, label="one")
    run(two, label="two")
    record = (stage.folder / "done.json").read_bytes()
    damage(stage.folder / name)
    again = run(one, label="one"), run(two, label="two")
    assert (one.runs, two.runs) == (2, 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert stage.folder.name in line and "is damaged or missing; this stage is computed" in line
    assert name in line or name == "done.json"
    assert (again[0].folder / "weights").read_text() == "run 2"
    assert len((stage.folder / "done.json").read_bytes()) == pytest.approx(len(record), abs=4)
    run(one, label="one")
    assert one.runs == 2 and capsys.readouterr().err == ""


def test_a_missing_file_and_a_file_more(run, capsys):
    work = Work()
    stage = run(work)
    (stage.folder / "note").write_text("of the user")  # no damage
    run(work)
    assert work.runs == 1
    (stage.folder / "weights").unlink()
    run(work)
    assert work.runs == 2 and "weights is damaged or missing" in capsys.readouterr().err
    assert {p.name for p in stage.folder.iterdir()} == {".lock", "weights", "done.json"}


def test_what_cannot_be_read_now_is_not_damaged(run, monkeypatch):
    """A disk may recover, and a stage is hours of work."""
    work = Work()
    stage = run(work)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("assl_jax.files.file_digest", fail)
        with pytest.raises(InputError, match="cannot be read: Input/output error"):
            run(work)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", fail)
        with pytest.raises(InputError, match=r"done\.json cannot be read: Input/output error"):
            run(work)
    assert run(work).folder == stage.folder and work.runs == 1
    assert (stage.folder / "weights").read_text() == "run 1"


def test_the_folders_of_trackers_may_be_tidied(run):
    class Tracked(Work):
        def __call__(self, folder):
            for name in ("wandb", "tensorboard"):
                (folder / name).mkdir()
                (folder / name / "run").write_text("curves")
            (folder / ".DS_Store").write_text("of the system")
            return super().__call__(folder)

    work = Tracked()
    stage = run(work)
    shutil.rmtree(stage.folder / "wandb")
    (stage.folder / "tensorboard" / "run").write_text("more")
    (stage.folder / ".DS_Store").unlink()
    run(work)
    assert work.runs == 1


def test_files_are_checked_once_in_a_process(run, tmp_path, monkeypatch):
    stage = run(Work())
    cache, checks = StageCache(tmp_path), []
    real = module.first_changed
    monkeypatch.setattr(module, "first_changed", lambda *a: checks.append(a) or real(*a))
    for _ in range(3):
        assert run(Work(), cache=cache).folder == stage.folder
    assert len(checks) == 1


def test_a_damaged_stage_is_unfinished_in_a_plan(run, tmp_path):
    stage, cache, work = run(Work()), StageCache(tmp_path), Work()
    changed(stage.folder / "weights")
    with cache.without_computing(), pytest.raises(module.Unfinished):
        run(work, cache=cache)
    assert work.runs == 0 and (stage.folder / "done.json").exists()
    run(work, cache=cache)  # after the plan it is computed
    assert work.runs == 1


def test_a_stop_ends_the_wait_for_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(module.signals, "asked", lambda: True)
    with (
        module.claimed(tmp_path),
        pytest.raises(Interrupted, match="stopped before .* another process works on"),
        module.claimed(tmp_path),
    ):
        raise AssertionError("two have the lock")


def test_other_code_computes_again_and_says_so_once(run, tmp_path, capsys):
    work = Work()
    first = run(work)
    assert capsys.readouterr().err == ""
    cache = StageCache(tmp_path)
    second = run(work, code="2", cache=cache)
    run(work, label="b", cache=cache)
    run(work, label="b", code="2", cache=cache)
    assert work.runs == 4 and cache.reused == []
    assert first.settings_key == second.settings_key and first.code_key != second.code_key
    (line,) = capsys.readouterr().err.splitlines()
    assert first.folder.name in line and "--reuse=settings" in line
    # Both are kept: going back to the old code finds the old stage.
    assert run(work).folder == first.folder and work.runs == 4


def test_children_of_other_code_are_other_stages(run):
    work = Work()
    parents = [run(work, code=code) for code in "12"]
    children = [run(work, "features", parents=[parent]) for parent in parents]
    assert work.runs == 4
    assert children[0].settings_key == children[1].settings_key
    assert children[0].code_key != children[1].code_key


def test_stages_of_other_code_are_reused_on_request(run, tmp_path, capsys):
    work = Work()
    first = run(work)
    cache = StageCache(tmp_path, reuse_settings=True)
    assert run(work, code="2", cache=cache).folder == first.folder
    assert work.runs == 1 and cache.reused == [first.folder.name]
    assert run(work, settings={"seed": 1}, code="2", cache=cache).folder != first.folder
    assert work.runs == 2 and cache.reused == [first.folder.name]
    assert capsys.readouterr().err == ""


def test_a_stage_that_is_older_than_its_parent_is_not_reused(run, tmp_path):
    """The parent was deleted and computed again: the old child belongs to the old parent."""
    work = Work()
    run(work, "features", parents=[run(work)])
    cache = StageCache(tmp_path, reuse_settings=True)
    parent = run(work, code="2", cache=cache)
    run(work, "features", code="2", parents=[parent], cache=cache)
    assert work.runs == 2  # both were reused
    shutil.rmtree(parent.folder)
    parent = run(work, code="2", cache=StageCache(tmp_path, reuse_settings=True))
    run(
        work,
        "features",
        code="2",
        parents=[parent],
        cache=StageCache(tmp_path, reuse_settings=True),
    )
    assert work.runs == 4


def test_an_unfinished_stage_of_other_code_is_not_reused(run, tmp_path, capsys):
    def crash(folder):
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        run(crash)
    work = Work()
    run(work, code="2", cache=StageCache(tmp_path, reuse_settings=True))
    assert work.runs == 1 and capsys.readouterr().err == ""


def test_a_run_may_call_a_stage_by_another_label(run):
    work = Work()
    run(work)
    stage = run(work, shown="vgg16/a")
    assert work.runs == 1 and stage.label == "vgg16/a" and stage.record.label == "a"


WORKER = """
import sys, time
from pathlib import Path
from assl_jax.records import Features
from assl_jax.strategies.stages import StageCache

def compute(folder):
    with open(sys.argv[2], "a") as file:
        file.write("began\\n")
    time.sleep(float(sys.argv[3]))
    return Features(n=1, d=2)

stage = StageCache(Path(sys.argv[1])).run("pretrain", "a", {}, compute, code=[StageCache])
print(stage.record.result.d, flush=True)
"""


@pytest.mark.slow
def test_two_processes_run_a_stage_once_and_a_dead_ones_lock_is_released(tmp_path):
    def worker(seconds):
        arguments = [str(tmp_path / "stages"), str(tmp_path / "log"), str(seconds)]
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True
        )

    def began(times):
        while not (tmp_path / "log").exists() or (tmp_path / "log").read_text().count("\n") < times:
            time.sleep(0.05)

    dead = worker(600)
    began(1)
    dead.kill()
    dead.communicate()
    first = worker(3)
    began(2)
    second = worker(0)
    assert first.communicate(timeout=60)[0] == second.communicate(timeout=60)[0] == "2\n"
    assert (tmp_path / "log").read_text() == "began\n" * 2
    (folder,) = (tmp_path / "stages").iterdir()
    assert folder.name.startswith("pretrain-a-")


def test_without_waiting_a_locked_stage_is_busy(run, tmp_path):
    cache = StageCache(tmp_path)

    def inside(folder):
        # Another cache finds the folder locked while the work runs.
        other = StageCache(tmp_path)
        with pytest.raises(module.Busy), other.without_waiting():
            run(Work(), cache=other)
        return Pretrained()

    run(inside, cache=cache)
    assert run(Work(), cache=cache).record.result == Pretrained()
