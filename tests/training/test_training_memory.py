"""Peak memory of a stretch of work, and where it is written."""

import resource

import numpy as np
import pytest

from assl_jax.training import memory
from assl_jax.training.memory import PeakMemory, log_peak, peak_memory
from assl_jax.training.metrics_log import MetricsLog

MB = 10**6


def test_an_allocation_shows_and_a_later_stretch_comes_down_again():
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
    assert after.device is None  # a CPU's arrays are the host's


def test_where_the_peak_cannot_be_cleared_it_is_that_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    with peak_memory() as peak:
        pass
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak.host == pytest.approx(1024 * kib, rel=0.05)


def test_a_failure_goes_through():
    with pytest.raises(RuntimeError, match="power cut"), peak_memory() as peak:
        raise RuntimeError("power cut")
    assert peak.host > 0


class Device:
    def __init__(self, stats):
        self.memory_stats = lambda: stats


def test_the_device_that_used_most_counts(monkeypatch):
    def told(*stats):
        monkeypatch.setattr(memory.jax, "local_devices", lambda: list(map(Device, stats)))
        return memory._device_peak()

    assert told({"peak_bytes_in_use": 5}, {"peak_bytes_in_use": 7}, {"bytes_in_use": 9}) == 7
    assert told(None, None) is None


def test_the_log_gets_one_record_at_its_last_step(tmp_path):
    peak = PeakMemory()
    peak.host, peak.device = 3 * 2**29, 2**28
    log_peak(tmp_path, peak)
    assert not list(tmp_path.iterdir())  # nothing was logged, nothing is
    place = {"stage": "pretrain-a-1", "kind": "pretrain", "label": "vgg16/a"}
    log = MetricsLog(tmp_path)
    for step in (1, 9, 8):
        log.write({**place, "task": "a", "step": step, "loss": 0.5})
    log.close()
    log_peak(tmp_path, peak)
    *losses, record = log.read()
    assert len(losses) == 3
    assert record == {
        **place,
        "task": "memory",
        "step": 9,
        "peak_host_gib": 1.5,
        "peak_device_gib": 0.25,
    }
