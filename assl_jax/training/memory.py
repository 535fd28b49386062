"""Peak memory of a piece of work, and its place in a stage's log."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import jax

from assl_jax.training.metrics_log import MetricsLog, recording

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
GIB = 2**30


class PeakMemory:
    """What `peak_memory` measured; filled in when its block ends.

    Attributes:
      host: bytes of this process's memory, including what it held before; None on Windows.
      device: bytes on that device of this process which used most; None on a CPU, whose arrays lie
        in the host's memory.
    """

    host: int | None = None
    device: int | None = None


@contextlib.contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the peak memory of a block; such blocks must not be nested.

    The host's figure is the largest resident set. On Linux the earlier peak is cleared when the
    block begins (by writing "5" to `/proc/self/clear_refs`). On macOS, or if `/proc` cannot be
    written, the figure is the peak of the process so far. The peak of a device cannot be cleared,
    so its figure is always the peak so far.
    """
    peak = PeakMemory()
    cleared = _clear_host_peak()
    try:
        yield peak
    finally:
        peak.host = _resident_peak() if cleared else _peak_so_far()
        peak.device = _device_peak()


def log_peak(folder: Path, peak: PeakMemory) -> None:
    """Append the peak to the log of a stage as task "memory", unless the log is empty."""
    records = MetricsLog(folder).read()
    if not records:
        return
    last, step = records[-1], max(record.step for record in records)
    found = {"peak_host_gib": peak.host, "peak_device_gib": peak.device}
    values = {name: size / GIB for name, size in found.items() if size is not None}
    with recording(folder, stage=last.stage, kind=last.kind, label=last.label) as record:
        record(task="memory", step=step, values=values)


def _clear_host_peak() -> bool:
    """Clear the peak of the resident set; False if the system cannot."""
    try:
        CLEAR.write_text("5")
        return _resident_peak() > 0
    except OSError:
        return False


def _resident_peak() -> int:
    """`VmHWM`, in bytes; 0 if the system does not give it."""
    lines = STATUS.read_text().splitlines()
    kib = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(kib[0]) if kib else 0


def _peak_so_far() -> int | None:
    try:
        import resource
    except ImportError:  # Windows does not have it
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_peak() -> int | None:
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [found["peak_bytes_in_use"] for found in statistics if "peak_bytes_in_use" in found]
    return max(peaks, default=None)
