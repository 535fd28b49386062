"""Engines: equal results wherever stages are computed, and whatever happens to a worker."""

import os
import time

import pytest
import toy_stages
from toy_stages import KILL, diamond, stages_of, value, work

from assl_jax.errors import InputError
from assl_jax.strategies import engines
from assl_jax.strategies.engines import Here, Processes, make_engine, shares
from assl_jax.strategies.scheduler import Scheduler


@pytest.fixture
def cluster():
    """The address of a Dask cluster of two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as local:
        yield local.scheduler_address.removeprefix("tcp://")


def carried_out(folder, engine):
    """The stages after a run of the diamond on an engine; the last value is right."""
    stages = stages_of(folder)
    send = None if isinstance(engine, Here) else lambda s: (work, str(folder), s.name)
    Scheduler(stages, engine, send).run(diamond())
    (bottom,) = diamond()
    assert value(stages.get(bottom)) == 5
    return stages


def pids(stages):
    return {stage.record.result.d for stage in stages.finished.values()}


KILLED = pytest.mark.parametrize("killed", [False, True], ids=["whole", "a worker is killed"])


@pytest.mark.slow
@KILLED
def test_processes_give_the_results_of_one_process(tmp_path, killed):
    with make_engine("", 2) as engine:
        if killed:
            (tmp_path / KILL).touch()
        stages = carried_out(tmp_path, engine)
    assert not (tmp_path / KILL).exists()
    assert os.getpid() not in pids(stages) and len(stages.finished) == 4
    assert {s.name for s in carried_out(tmp_path, Here()).finished} == {
        s.name for s in stages.finished
    }


@pytest.mark.slow
@KILLED
def test_a_dask_cluster_gives_the_results_of_one_process(tmp_path, cluster, killed):
    with make_engine(f"dask://{cluster}", 1) as engine:
        assert engine.workers == 2
        if killed:
            (tmp_path / KILL).touch()
        stages = carried_out(tmp_path, engine)
    assert not (tmp_path / KILL).exists() and os.getpid() not in pids(stages)


@pytest.mark.slow
def test_a_stage_that_kills_every_worker_is_an_error(tmp_path, monkeypatch):
    class Cursed(Processes):
        def executor(self):
            (tmp_path / KILL).touch()
            return super().executor()

    engine = Cursed(2)
    try:
        with pytest.raises(InputError, match="features (left|right) lost its worker 3 times"):
            carried_out(tmp_path, engine)
    finally:
        engine.close()


@pytest.mark.slow
def test_workers_end_with_their_engine(tmp_path):
    engine = Processes(2)
    stages = carried_out(tmp_path, engine)
    engine.close()
    time.sleep(0.1)
    for pid in pids(stages):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("name", "jobs", "says"),
    [
        ("", 0, "--jobs=0 must be at least 1"),
        ("slurm://x", 1, "--engine=slurm://x must be dask://HOST:PORT"),
        ("dask://localhost:1", 2, "leave it out with --engine"),
    ],
)
def test_an_engine_that_cannot_be(name, jobs, says):
    with pytest.raises(InputError, match=says), make_engine(name, jobs):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    ("processors", "parts"),
    [
        ({0, 1, 2, 3, 8}, [{0, 2, 8}, {1, 3}]),
        ({4}, [{4}, {4}]),  # fewer than workers: they share it
    ],
)
def test_workers_divide_the_processors(monkeypatch, processors, parts):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: processors)
    assert shares(2) == parts


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_worker_has_as_many_threads_as_one_process(monkeypatch):
    """XLA sums in the order of its threads, so fewer threads give other last digits."""
    monkeypatch.setenv("NPROC", "")  # so that it is put back
    monkeypatch.delenv("NPROC")
    Processes(2)
    assert os.environ["NPROC"] == str(len(os.sched_getaffinity(0)))


def test_workers_divide_the_memory_of_a_gpu(monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "")  # so that it is put back
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION")
    for workers in (2, 6):  # what is set already stays
        Processes(workers)
        assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.300"
    assert engines.MEMORY == 0.9 and toy_stages.KILL
