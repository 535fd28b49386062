"""Times programs in turns: each in its own process, only one of them at work.

Idle threads of one library then do not slow down another one. Whatever else the machine does slows
all programs alike, so the ratio of two columns of one table is what counts.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PAUSE = 0.3  # seconds, in which the threads of the last program go to sleep


class Failed(Exception):
    """A program ended too early."""


class Worker:
    """A program that runs its work on each request; the program itself calls `serve`."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start `python -m COMMAND` and wait until it is ready; `facts` is its first answer."""
        # On a GPU the programs share the memory.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
        self._name = " ".join(command)
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.facts: dict[str, Any] = self._read()

    def time(self) -> float:
        """Run the work once; returns seconds."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()["seconds"]

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self._name} failed with exit status {self._process.wait()}; see above")
        return json.loads(line)


def serve(work: Callable[[], Any], **facts: Any) -> None:
    """In a worker: run `work` on each request.

    Args:
      work: returns when everything is computed. It runs once before the first request, for
        compilation and first allocations.
      facts: sent to `Worker.facts`.
    """
    began = time.perf_counter()
    work()
    print(json.dumps({"first": time.perf_counter() - began, **facts}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        work()
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


def compare(commands: Mapping[str, Sequence[str]], repeats: int) -> dict[str, dict[str, Any]]:
    """Time every command `repeats` times in turns.

    Returns:
      For each name `median`, `low` and `high` (quartiles) in seconds, `times`, and the worker's
      facts.
    """
    workers: dict[str, Worker] = {}
    try:
        for name, command in commands.items():
            workers[name] = Worker(command)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, worker in workers.items():
                time.sleep(PAUSE)
                times[name].append(worker.time())
    finally:
        for worker in workers.values():
            worker.close()
    return {name: {**workers[name].facts, **spread(t), "times": t} for name, t in times.items()}


def spread(times: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table; the keys of the first row are the columns."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_shown(row.get(key)) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(path: str, rows: Any, **settings: Any) -> None:
    """Write the measurements as JSON, with a description of the machine."""
    from assl_jax.environment import environment

    cores = len(os.sched_getaffinity(0))
    whole = {"environment": environment(), "cores": cores, **settings, "rows": rows}
    Path(path).write_text(json.dumps(whole, indent=2) + "\n")
