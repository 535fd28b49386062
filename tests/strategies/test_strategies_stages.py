"""The cache of finished stages."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from assl_jax.strategies.stages import DONE, StageCache, digest, read_json, write_json
from assl_jax.training import memory
from assl_jax.training.metrics_log import MetricsLog, recording


class Work:
    """A computation that counts how often it runs."""

    def __init__(self, result):
        self.result, self.runs = result, 0

    def __call__(self, folder):
        self.runs += 1
        (folder / "weights").write_text(f"run {self.runs}")
        return dict(self.result)


def test_digest_is_stable():
    spec = {"b": {"d": "x", "c": True}, "a": [1, 2.5, None]}
    # SHA-256 of {"a": [1, 2.5, null], "b": {"c": true, "d": "x"}}
    assert digest(spec) == "77846e41d4ff"
    assert digest({"a": (1, 2.5, None), "b": {"c": True, "d": "x"}}) == "77846e41d4ff"
    changed = [{**spec, "a": [1, 2.5, 0]}, {**spec, "e": 1}, {"a": spec["a"]}, {**spec, "b": {}}]
    assert len({digest(s) for s in [spec, *changed]}) == 5


def test_runs_once_and_is_read_afterwards(tmp_path):
    work = Work({"accuracy": 0.1 + 0.2, "runs": [1, 2], "images_per_s": 12.5})
    first = StageCache(tmp_path).run("finetune", "a+b", {"seed": 0}, work)
    later = StageCache(tmp_path)
    second = later.run("finetune", "a+b", {"seed": 0}, work)
    assert work.runs == 1
    assert first == second and later.finished == [second]
    assert first.result == {"accuracy": 0.1 + 0.2, "runs": [1, 2]}
    assert first.images_per_s == 12.5 and first.seconds >= 0
    assert first.peak_host_bytes > 2**20 and first.peak_device_bytes is None
    assert first.folder == tmp_path / f"finetune-a+b-{first.key}"
    assert first.key == digest({"kind": "finetune", "version": "", "seed": 0})
    done = json.loads((first.folder / DONE).read_text())
    assert done["spec"] == {"seed": 0} and done["label"] == "a+b"
    record = first.record()
    assert json.loads(json.dumps(record)) == record and record["stage"] == first.folder.name


def test_a_stage_from_before_memory_was_measured_is_read(tmp_path):
    stage = StageCache(tmp_path).run("finetune", "a", {}, Work({"x": 1}))
    done = json.loads((stage.folder / DONE).read_text())
    assert done.pop("peak_host_bytes") == stage.peak_host_bytes
    assert done.pop("peak_device_bytes", "missing") is None
    write_json(stage.folder / DONE, done)
    old = StageCache(tmp_path).run("finetune", "a", {}, Work({"x": 2}))
    assert old.result == {"x": 1} and old.peak_host_bytes is old.peak_device_bytes is None


def test_memory_is_measured_around_the_work_and_logged(tmp_path):
    def compute(folder):
        with recording(folder, stage=folder.name, kind="pretrain", label="vgg16/a") as record:
            record({"task": "a", "step": 7, "loss": 1.0, "images_per_s": 3.0})
        np.ones(200 * 10**6, np.uint8)
        return {}

    cache = StageCache(tmp_path)
    small = cache.run("features", "a", {}, Work({}))
    large = cache.run("pretrain", "a", {}, compute)
    if memory._clear_host_peak():  # elsewhere the peak is that of the process so far
        assert large.peak_host_bytes - small.peak_host_bytes > 190 * 10**6
    assert not (small.folder / "metrics.jsonl").exists()
    *_, record = MetricsLog(large.folder).read()
    assert record == {
        **{"stage": large.folder.name, "kind": "pretrain", "label": "vgg16/a"},
        **{"task": "memory", "step": 7},
        "peak_host_gib": large.peak_host_bytes / 2**30,
        "peak_device_gib": None,
    }


def test_a_stage_asked_for_twice_is_listed_once(tmp_path):
    cache, work = StageCache(tmp_path), Work({})
    for _ in range(2):
        stage = cache.run("pretrain", "a", {"seed": 0}, work)
    assert cache.finished == [stage] and stage.images_per_s is None


def test_another_spec_is_another_folder(tmp_path):
    cache, work = StageCache(tmp_path), Work({})
    stages = [
        cache.run("pretrain", "a", {"seed": 0}, work),
        cache.run("pretrain", "a", {"seed": 1}, work),
        cache.run("features", "a", {"seed": 0}, work),
    ]
    assert work.runs == 3
    assert len({s.folder for s in stages}) == len({s.key for s in stages}) == 3
    assert cache.finished == stages


def test_deleting_a_folder_recomputes_exactly_that(tmp_path):
    one, two = Work({"x": 1}), Work({"x": 2})

    def both():
        cache = StageCache(tmp_path)
        return cache.run("k", "one", {}, one), cache.run("k", "two", {}, two)

    first, _ = both()
    shutil.rmtree(first.folder)
    both()
    assert (one.runs, two.runs) == (2, 1)


def test_a_crash_leaves_no_result_and_the_work_so_far(tmp_path):
    cache = StageCache(tmp_path)

    def crash(folder):
        (folder / "checkpoint").write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cache.run("pretrain", "a", {}, crash)
    (folder,) = tmp_path.iterdir()
    assert {p.name for p in folder.iterdir()} == {".lock", "checkpoint"} and cache.finished == []

    def go_on(same):
        assert same == folder and (same / "checkpoint").read_text() == "half"
        return {"ok": True}

    assert cache.run("pretrain", "a", {}, go_on).result == {"ok": True}


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    assert read_json(path) == {}
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}

    def cut(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", cut)
    with pytest.raises(OSError):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


def test_another_version_of_the_program_computes_anew(tmp_path):
    calls = []

    def compute(folder):
        calls.append(folder)
        return {}

    for version in ("1", "1", "2"):
        StageCache(tmp_path, version).run("kind", "label", {"a": 1}, compute)
    assert len(set(calls)) == len(calls) == 2


WORKER = """
import sys, time
from pathlib import Path
from assl_jax.strategies.stages import StageCache

def compute(folder):
    with open(sys.argv[2], "a") as file:
        file.write("began\\n")
    time.sleep(float(sys.argv[3]))
    return {"x": 1}

print(StageCache(Path(sys.argv[1])).run("pretrain", "a", {}, compute).result, flush=True)
"""


def test_two_processes_do_a_stage_once_and_a_dead_ones_claim_is_taken_over(tmp_path):
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
    assert first.communicate(timeout=60)[0] == second.communicate(timeout=60)[0] == "{'x': 1}\n"
    assert (tmp_path / "log").read_text() == "began\n" * 2
    (folder,) = (tmp_path / "stages").iterdir()
    assert folder.name.startswith("pretrain-a-")


def test_a_run_may_call_a_stage_by_another_label(tmp_path):
    work = Work({"x": 1})
    StageCache(tmp_path).run("pretrain", "a", {}, work)
    stage = StageCache(tmp_path).run("pretrain", "a", {}, work, shown="vgg16/a")
    assert work.runs == 1 and stage.label == "vgg16/a" and stage.record()["label"] == "vgg16/a"
