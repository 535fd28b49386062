"""Stages as data: their names, what is computed and in which order, and what is only looked up."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from toy_stages import diamond, spec, stages_of

from assl_jax import signals
from assl_jax.errors import InputError, Interrupted
from assl_jax.records import Features, LogRecord, Network
from assl_jax.store import LocalStore
from assl_jax.strategies import stage as module
from assl_jax.strategies.scheduler import Missing, Scheduler
from assl_jax.strategies.stage import StageSpec, with_parents
from assl_jax.training import memory
from assl_jax.training.metrics_log import MetricsLog


class Old:
    """A task of a user."""


class New:
    """The same task, edited."""

    edited = True


class Work:
    """Stages that write a file, and the labels of those that were computed."""

    def __init__(self, folder, **more):
        self.folder, self.more, self.computed = folder, more, []

    def __call__(self, *specs):
        """The finished stages; each call is another run of the program."""
        self.stages = stages_of(self.folder, self.compute, **self.more)
        Scheduler(self.stages).run(specs)
        return [self.stages.get(each) for each in specs]

    def compute(self, spec, folder):
        (folder / "weights").write_text("numbers")
        self.computed.append(spec.network.label)
        return Features(n=1, d=2)


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


def test_the_name_of_a_stage(monkeypatch):
    one = spec("a", seed=0, delay=(1, 2))
    assert one.name == f"features-a-{one.settings_key}-{one.code_key}"
    assert one == spec("a", seed=0, delay=[1, 2]) and hash(one) == hash(
        spec("a", seed=0, delay=[1, 2])
    )
    parents = [spec("a"), spec("a", seed=1), spec("a", roots=(Old,)), spec("a", roots=(New,))]
    children = [spec("b", parent) for parent in parents]
    every = [one, spec("b"), StageSpec("probe", one.network, "toy", one.settings)]
    assert len({each.name for each in (*parents, *children, *every)}) == 11
    # Settings and code are told apart.
    assert children[0].settings_key == children[2].settings_key != children[1].settings_key
    assert children[0].code_key == children[1].code_key != children[2].code_key
    assert children[2].stem == children[3].stem


def test_the_version_of_a_kind_renames_its_stages_and_those_after_them(monkeypatch):
    def names():
        first = StageSpec("pretrain", Network(tasks=("a",)), "toy", {})
        return [each.name for each in (spec("x"), first, spec("b", first))]

    before = names()
    monkeypatch.setitem(module.VERSIONS, "pretrain", 99)
    assert [a == b for a, b in zip(before, names(), strict=True)] == [True, False, False]


def test_parents_come_first_and_once():
    assert [s.network.label for s in with_parents(diamond() * 2)] == [
        *("top", "left", "right", "bottom"),
    ]


def test_what_is_finished_is_read_and_not_computed_again(work, capsys):
    bottom = work(*diamond())
    assert work.computed == ["top", "left", "right", "bottom"]
    first = list(work.stages.finished.values())
    assert work(*diamond()) == bottom and len(work.computed) == 4
    assert list(work.stages.finished.values()) == first  # also those that others read
    done = json.loads((first[0].folder / "done.json").read_text())
    assert done["label"] == "top" and done["seconds"] >= 0 and "commit" in done
    assert done["network"] == {"tasks": ["top"]}
    assert first[0].record.images_per_s is None and first[0].record.peak_host_bytes > 2**20
    # Deleting one stage recomputes exactly that.
    shutil.rmtree(first[0].folder)
    work(*diamond())
    assert work.computed[4:] == ["top"] and capsys.readouterr().err == ""


def test_looking_computes_nothing_and_does_not_count_as_asked_for(work):
    (bottom,) = diamond()
    stages = stages_of(work.folder, work.compute)
    with pytest.raises(Missing, match=bottom.name):
        stages.get(bottom)
    work(bottom.parents[0])
    assert stages.find(bottom.parents[0]) and stages.find(bottom) is None
    assert work.computed == ["top", "left"] and not stages.finished


def test_every_stage_is_told_once(work):
    told = []
    stages = stages_of(work.folder, work.compute, told=lambda stage: told.append(stage.spec))
    for _ in range(2):
        Scheduler(stages).run(diamond())
    assert told == with_parents(diamond())


def test_a_plan_receives_control_when_its_stages_are_finished(work):
    stages, seen = stages_of(work.folder, work.compute), []

    def plan():
        for each in (spec("a"), spec("b")):
            yield [each]
            seen.append(stages.get(each).name)
        return "findings"

    assert Scheduler(stages).carry_out(plan()) == "findings"
    assert seen == [spec("a").name, spec("b").name]


def test_a_crash_leaves_no_result_and_the_work_so_far(tmp_path):
    def crash(spec, folder):
        (folder / "checkpoint").write_text("half")
        raise RuntimeError("power cut")

    stages = stages_of(tmp_path, crash)
    with pytest.raises(RuntimeError, match="power cut"):
        Scheduler(stages).run([spec("a")])
    (folder,) = tmp_path.iterdir()
    assert {p.name for p in folder.iterdir()} == {".lock", "checkpoint"} and not stages.finished

    def resume(spec, same):
        assert same == folder and (same / "checkpoint").read_text() == "half"
        return Features(n=1, d=2)

    for reuse in (True, False):  # an unfinished stage of other code is not reused either
        other = spec("a", roots=(New,)) if reuse else spec("a")
        compute = Work(tmp_path).compute if reuse else resume
        Scheduler(stages_of(tmp_path, compute, reuse_settings=reuse)).run([other])


def test_memory_and_speed_are_measured_around_the_work_and_logged(tmp_path):
    def compute(spec, folder):
        if spec.kind == "pretrain":
            line = LogRecord(
                stage=folder.name,
                kind="pretrain",
                label="vgg16/a",
                task="a",
                step=7,
                values={"loss": 1.0, "images_per_s": 3.0},
            )
            (folder / "metrics.jsonl").write_text(line.to_line() + "\n")
            np.ones(200 * 10**6, np.uint8)
        return Features(n=1, d=2)

    stages = stages_of(tmp_path, compute)
    specs = [spec("a"), StageSpec("pretrain", Network(tasks=("a",)), "toy", {})]
    Scheduler(stages).run(specs)
    small, large = map(stages.get, specs)
    assert large.record.images_per_s == 3.0
    if memory._clear_host_peak():  # elsewhere the peak is that of the process so far
        assert large.record.peak_host_bytes - small.record.peak_host_bytes > 190 * 10**6
    assert not (small.folder / "metrics.jsonl").exists()
    *_, last = MetricsLog(large.folder).read()
    assert (last.stage, last.label, last.task) == (large.folder.name, "vgg16/a", "memory")
    assert last.step == 7
    assert last.values["peak_host_gib"] == large.record.peak_host_bytes / 2**30


def test_other_code_computes_again_and_says_so_once(work, capsys):
    (first,) = work(spec("a"))
    assert capsys.readouterr().err == ""
    work(spec("b"))
    (second, _) = work(spec("a", roots=(New,)), spec("b", roots=(New,)))
    assert work.computed == ["a", "b", "a", "b"] and work.stages.reused == ()
    (line,) = capsys.readouterr().err.splitlines()
    assert first.name in line and "--reuse=settings" in line
    # Both are kept: going back to the old code finds the old stage.
    assert work(spec("a")) == [first] != [second] and len(work.computed) == 4


def test_stages_of_other_code_are_reused_on_request(tmp_path, capsys):
    work = Work(tmp_path, reuse_settings=True)
    parent, child = spec("a"), spec("b", spec("a"))
    work(child)
    edited = spec("a", roots=(New,))
    (found,) = work(spec("b", edited))
    assert (found.name, work.stages.reused) == (child.name, (parent.name, child.name))
    assert work(spec("a", seed=1, roots=(New,)))[0].name != parent.name
    assert work.computed == ["a", "b", "a"] and work.stages.reused == ()
    assert capsys.readouterr().err == ""
    # A child that is older than its parent was computed from other files.
    shutil.rmtree(work.folder / parent.name)
    work(spec("b", edited))
    assert work.computed[3:] == ["a", "b"]


def test_what_another_command_computes_comes_later_which_is_said(work, monkeypatch, capsys):
    """It is looked at again, and others are computed first."""
    names = ("a", "b", "c")
    specs, store = [spec(name) for name in names], LocalStore(work.folder)
    monkeypatch.setattr("assl_jax.strategies.scheduler.PAUSE", 0.05)
    other = store.lock(specs[0].name)
    assert other.__enter__()
    began = time.monotonic()

    def compute(spec, folder):
        if spec is specs[2]:
            other.__exit__(None, None, None)
        return work.compute(spec, folder)

    Scheduler(stages_of(work.folder, compute)).run(specs)
    assert work.computed == ["b", "c", "a"] and time.monotonic() - began < 5
    # Where nothing else is left, it waits and says for what.
    waits = LocalStore(work.folder / "more")
    stages = stages_of(work.folder / "more", work.compute)
    other, asked = waits.lock(specs[0].name), iter([False, True])
    monkeypatch.setattr(signals, "asked", lambda: next(asked))
    with other, pytest.raises(Interrupted, match="stopped before the next stage"):
        Scheduler(stages).run(specs[:1])
    said = f"waiting for {specs[0].name}, which another process works on\n"
    assert capsys.readouterr().err.endswith(said)


def test_processes_that_run_different_stages_are_told(work, monkeypatch):
    monkeypatch.setattr("assl_jax.strategies.scheduler.gather", lambda name: [name, "another"])
    with pytest.raises(InputError, match="the processes run different stages .features a.; start"):
        work(spec("a"))
    assert not work.computed


WORKER = """
import sys, time
from pathlib import Path
from assl_jax.records import Features
from assl_jax.strategies.scheduler import Scheduler
from toy_stages import spec, stages_of

def compute(spec, folder):
    with open(sys.argv[2], "a") as file:
        file.write("began\\n")
    time.sleep(float(sys.argv[3]))
    return Features(n=1, d=2)

stages = stages_of(sys.argv[1], compute)
Scheduler(stages).run([spec("a")])
print(stages.get(spec("a")).record.result.d, flush=True)
"""


@pytest.mark.slow
def test_two_processes_compute_a_stage_once_and_a_dead_ones_lock_is_released(tmp_path):
    def worker(seconds):
        arguments = [str(tmp_path / "stages"), str(tmp_path / "log"), str(seconds)]
        path = {"PYTHONPATH": ":".join(sys.path)}
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=path | {"JAX_PLATFORMS": "cpu"},
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
    assert len(list((tmp_path / "stages").iterdir())) == 1
