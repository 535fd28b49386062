"""Peak memory of a piece of work, and its record in the log."""

import resource
import sys

import numpy as np
import pytest

from assl_jax.records import LogRecord
from assl_jax.training import memory
from assl_jax.training.memory import PeakMemory, log_peak, peak_memory
from assl_jax.training.metrics_log import MetricsLog

MB = 10**6
PLACE = {"stage": "pretrain-a-1", "kind": "pretrain", "label": "vgg16/a"}


def test_an_allocation_shows_in_its_block_and_not_in_the_next():
    if not memory._clear_host_peak():
        pytest.skip("this system does not forget its peak")
    with peak_memory() as before:
        pass
    with peak_memory() as during:
        np.ones(200 * MB, np.uint8)
    with peak_memory() as after:
        pass
    assert 190 * MB < during.host - before.host < 300 * MB
    assert during.host - after.host > 190 * MB
    assert after.device is None  # the arrays of a CPU lie in the host's memory


def test_without_clearing_the_peak_is_that_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    with peak_memory() as peak:
        pass
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak.host == pytest.approx(1024 * kib, rel=0.05)


def test_windows_has_no_figure_for_the_host(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it raises ImportError
    with peak_memory() as peak:
        pass
    assert peak.host is None and peak.device is None
    MetricsLog(tmp_path).write(LogRecord(**PLACE, task="a", step=1, values={"loss": 0.5}))
    log_peak(tmp_path, peak)
    *_, record = MetricsLog(tmp_path).read()
    assert record.task == "memory" and record.values == {}


def test_an_exception_passes_through():
    with pytest.raises(RuntimeError, match="power cut"), peak_memory() as peak:
        raise RuntimeError("power cut")
    assert peak.host > 0


class Device:
    def __init__(self, stats):
        self.memory_stats = lambda: stats


def test_the_device_that_used_most_counts(monkeypatch):
    def peak(*stats):
        monkeypatch.setattr(memory.jax, "local_devices", lambda: list(map(Device, stats)))
        return memory._device_peak()

    assert peak({"peak_bytes_in_use": 5}, {"peak_bytes_in_use": 7}, {"bytes_in_use": 9}) == 7
    assert peak(None, None) is None


def test_the_log_gets_one_record_at_its_last_step(tmp_path):
    peak = PeakMemory()
    peak.host, peak.device = 3 * 2**29, 2**28
    log_peak(tmp_path, peak)
    assert not list(tmp_path.iterdir())  # an empty log stays empty
    log = MetricsLog(tmp_path)
    for step in (1, 9, 8):
        log.write(LogRecord(**PLACE, task="a", step=step, values={"loss": 0.5}))
    log.close()
    log_peak(tmp_path, peak)
    *losses, record = log.read()
    assert len(losses) == 3
    values = {"peak_host_gib": 1.5, "peak_device_gib": 0.25}
    assert record == LogRecord(**PLACE, task="memory", step=9, values=values)
