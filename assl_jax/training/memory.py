"""Peak memory of a stretch of work, and its place in a stage's log."""

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import jax

from assl_jax.training.metrics_log import MetricsLog, recording

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
GIB = 2**30


class PeakMemory:
    """What `peak_memory` found, once its block has ended.

    Attributes:
      host: bytes of this process's memory, with what it held before.
      device: bytes on the device of this process that used most; None on a CPU, whose arrays are in
        the host's memory.
    """

    host: int = 0
    device: int | None = None


@contextlib.contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure a stretch of work; such stretches come after each other, never inside each other.

    The host's figure is the largest resident set. Linux forgets an earlier peak at the beginning
    ("5" written to `/proc/self/clear_refs`). Where that is not possible (macOS, or a `/proc` that
    cannot be written) the figure is the peak of the process so far, and so it always is for a
    device, whose peak cannot be reset.
    """
    peak = PeakMemory()
    cleared = _clear_host_peak()
    try:
        yield peak
    finally:
        peak.host = _resident_peak() if cleared else _peak_so_far()
        peak.device = _device_peak()


def log_peak(folder: Path, peak: PeakMemory) -> None:
    """Append the peak to the `metrics.jsonl` of a stage that logged anything, as task "memory"."""
    records = MetricsLog(folder).read()
    if not records:
        return
    place = {key: records[-1].get(key) for key in ("stage", "kind", "label")}
    with recording(folder, **place) as record:
        record(
            {
                "task": "memory",
                "step": max(r["step"] for r in records),
                "peak_host_gib": peak.host / GIB,
                "peak_device_gib": None if peak.device is None else peak.device / GIB,
            }
        )


def _clear_host_peak() -> bool:
    """Whether the peak begins anew."""
    try:
        CLEAR.write_text("5")
        return _resident_peak() > 0
    except OSError:
        return False


def _resident_peak() -> int:
    """`VmHWM`, in bytes; 0 where it is not told."""
    lines = STATUS.read_text().splitlines()
    kib = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(kib[0]) if kib else 0


def _peak_so_far() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_peak() -> int | None:
    told = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in told if "peak_bytes_in_use" in stats]
    return max(peaks, default=None)
