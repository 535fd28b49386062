"""Programs timed side by side: each in a process of its own, one at a time, in turns.

Threads of one library then never spin beside another's, and whatever else the machine does meets
all of them alike: what counts is the ratio of two columns of one table.
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

PAUSE = 0.3  # seconds in which the threads of the program before go to sleep


class Failed(Exception):
    """A program ended before it was done."""


class Worker:
    """A program that runs a piece of work whenever it is asked; its end of the pipe is `serve`."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start `python -m COMMAND` and wait until it is ready; `facts` is what it said then."""
        # On a GPU the programs share its memory.
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
        """Run the work once; seconds."""
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
            raise Failed(f"{self._name} ended with exit status {self._process.wait()}")
        return json.loads(line)


def serve(work: Callable[[], Any], **facts: Any) -> None:
    """In a worker: run `work` whenever asked; it returns when all of it is computed.

    It runs once before (compilation, first allocations); `facts` are handed to `Worker.facts`.
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
    """Markdown; the keys of the first row are the columns."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_shown(row.get(key)) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(path: str, rows: Any, **settings: Any) -> None:
    """Write the measurements with the machine that they were taken on, as JSON."""
    from assl_jax.environment import environment

    cores = len(os.sched_getaffinity(0))
    whole = {"environment": environment(), "cores": cores, **settings, "rows": rows}
    Path(path).write_text(json.dumps(whole, indent=2) + "\n")
