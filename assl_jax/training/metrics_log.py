"""The log of a stage: `metrics.jsonl`, and the curves of its trackers."""

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from assl_jax.records import LogRecord
from assl_jax.training.processes import is_primary
from assl_jax.training.trackers import DEFAULT, Tracked

FILE = "metrics.jsonl"


class Recorder(Protocol):
    """A function that logs what was measured; see `LogRecord` for its arguments."""

    def __call__(
        self, *, task: str, step: int, values: Mapping[str, float], steps: int = 0, run: str = ""
    ) -> None: ...


class MetricsLog:
    """Appends records to a stage's `metrics.jsonl`, and their values to its trackers.

    A killed stage repeats the steps after its last checkpoint when it resumes. Of several records
    with the same `LogRecord.key`, the last one counts.
    """

    def __init__(self, folder: Path, log_to: tuple[str, ...] = DEFAULT) -> None:
        """The log of a stage in its `folder`; nothing is written before the first record."""
        self.path = folder / FILE
        self._tracked = Tracked(log_to, folder)

    def write(self, record: LogRecord) -> None:
        """Append one record, as one line."""
        line = record.to_line()
        with self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # a killed run left an unfinished line
                    line = "\n" + line
            file.write((line + "\n").encode())
        curve = "/".join(filter(None, [record.task, record.run])).replace(" ", "_")
        self._tracked.log(curve, record.step, record.values)

    def read(self) -> list[LogRecord]:
        """All records, each key once, in the order of appearance; broken lines are skipped."""
        records: dict[tuple, LogRecord] = {}
        if not self.path.exists():
            return []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):  # the unfinished line of a killed run
                record = LogRecord.from_line(line)
                records[record.key] = record
        return list(records.values())

    def speed(self) -> float | None:
        """The median of the logged images per second; None without any."""
        speeds = [r.values["images_per_s"] for r in self.read() if "images_per_s" in r.values]
        return statistics.median(speeds) if speeds else None

    def close(self) -> None:
        """Finish the trackers."""
        self._tracked.close()


@contextlib.contextmanager
def recording(
    folder: Path, *, stage: str, kind: str, label: str, log_to: tuple[str, ...] = DEFAULT
) -> Iterator[Recorder]:
    """A function that logs to `folder`; in all processes but the primary one it does nothing.

    Every record has the stage, kind and label; `log_to` are names in `TRACKERS`.
    """

    def record(**measured: Any) -> None:
        if is_primary():
            log.write(LogRecord(stage=stage, kind=kind, label=label, **measured))

    with contextlib.closing(MetricsLog(folder, log_to)) as log:
        yield record
