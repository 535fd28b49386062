"""The log of a stage: `metrics.jsonl` and TensorBoard events."""

import contextlib
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from assl_jax.records import LogRecord
from assl_jax.training.processes import is_primary

FILE, EVENTS = "metrics.jsonl", "tensorboard"


class Recorder(Protocol):
    """A function that logs what was measured; see `LogRecord` for its arguments."""

    def __call__(
        self, *, task: str, step: int, values: Mapping[str, float], steps: int = 0, run: str = ""
    ) -> None: ...


class MetricsLog:
    """Appends records to a stage's `metrics.jsonl`, and their values to TensorBoard's files.

    A killed stage repeats the steps after its last checkpoint when it resumes. Of several records
    with the same `LogRecord.key`, the last one counts.
    """

    def __init__(self, folder: Path) -> None:
        """The log in `folder`; nothing is written before the first record."""
        self.path = folder / FILE
        self._events = folder / EVENTS
        self._writer: Any = None

    def write(self, record: LogRecord) -> None:
        """Append one record, as one line."""
        line = record.to_line()
        with self.path.open("a+b") as file:
            # A killed run may have left an unfinished line.
            if file.tell() and not _ends_line(file):
                line = "\n" + line
            file.write((line + "\n").encode())
        curve = "/".join(filter(None, [record.task, record.run])).replace(" ", "_")
        for name, value in record.values.items():
            self._scalars().add_scalar(f"{curve}/{name}", value, record.step)

    def read(self) -> list[LogRecord]:
        """All records, each key once, in the order of appearance; broken lines are skipped."""
        records: dict[tuple, LogRecord] = {}
        if not self.path.exists():
            return []
        for line in self.path.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):  # the unfinished line of a killed run
                record = LogRecord.from_line(line)
                records[record.key] = record
        return list(records.values())

    def speed(self) -> float | None:
        """The median of the logged images per second; None without any."""
        speeds = [r.values["images_per_s"] for r in self.read() if "images_per_s" in r.values]
        return statistics.median(speeds) if speeds else None

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _scalars(self) -> Any:
        import tensorboardX

        if self._writer is None:
            # tensorboardX names files by the second. Two files of one second would be one.
            suffix = f".{time.time_ns()}"
            self._writer = tensorboardX.SummaryWriter(str(self._events), filename_suffix=suffix)
        return self._writer


@contextlib.contextmanager
def recording(folder: Path, *, stage: str, kind: str, label: str) -> Iterator[Recorder]:
    """A function that logs to `folder`; in all processes but the primary one it does nothing.

    Args:
      folder: of the stage.
      stage, kind, label: of every record, see `LogRecord`.
    """

    def record(**measured: Any) -> None:
        if is_primary():
            log.write(LogRecord(stage=stage, kind=kind, label=label, **measured))

    with contextlib.closing(MetricsLog(folder)) as log:
        yield record


def _ends_line(file: BinaryIO) -> bool:
    file.seek(-1, 2)
    return file.read(1) == b"\n"
