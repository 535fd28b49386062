"""Where numbers go: `metrics.jsonl` and TensorBoard events."""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from assl_jax.training.processes import is_primary


class MetricsLog:
    """Appends records to a stage's `metrics.jsonl` and scalars to TensorBoard's files beside it.

    A killed and resumed stage repeats the steps after its last checkpoint: for equal (stage, task,
    step) the last record counts, which `read` sees to.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._events = folder / "tensorboard"
        self._writer: Any = None

    def write(self, record: dict[str, Any]) -> None:
        """Append one flat record: at least `stage`, `task`, `step`, and `run` if there are more."""
        line = json.dumps(record)
        with self.path.open("a+b") as file:
            # A killed run may have left half a line behind.
            if file.tell() and not _ends_line(file):
                line = "\n" + line
            file.write((line + "\n").encode())
        self._tensorboard(record)

    def _tensorboard(self, record: dict[str, Any]) -> None:
        curve = "/".join(filter(None, [record["task"], record.get("run")])).replace(" ", "_")
        for name, value in record.items():
            if isinstance(value, float):
                self._scalars().add_scalar(f"{curve}/{name}", value, record["step"])

    def _scalars(self) -> Any:
        import tensorboardX

        if self._writer is None:
            # Names go by the second: one that is opened soon after would overwrite the one before.
            suffix = f".{time.time_ns()}"
            self._writer = tensorboardX.SummaryWriter(str(self._events), filename_suffix=suffix)
        return self._writer

    def read(self) -> list[dict[str, Any]]:
        """All records, each step of a stage once, in order of first appearance."""
        records: dict[tuple, dict[str, Any]] = {}
        if not self.path.exists():
            return []
        for line in self.path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the half line of a killed run
                continue
            place = (record["stage"], record.get("run"), record["task"], record["step"])
            records[place] = record
        return list(records.values())

    def speed(self) -> float | None:
        """The median of the images per second that were logged; None without any."""
        speeds = [r["images_per_s"] for r in self.read() if "images_per_s" in r]
        return statistics.median(speeds) if speeds else None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@contextlib.contextmanager
def recording(folder: Path, **place: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that logs records to `folder`, each with the entries of `place`.

    It does nothing but in the first process.
    """
    if not is_primary():
        yield lambda values: None
        return
    with contextlib.closing(MetricsLog(folder)) as log:
        yield lambda values: log.write({**place, **values})


def _ends_line(file: Any) -> bool:
    file.seek(-1, 2)
    return file.read(1) == b"\n"
