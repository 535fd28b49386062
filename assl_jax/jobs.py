"""Several processes of this machine that share the work of one run (`--jobs`)."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from assl_jax.console import say

HELPER = "ASSL_JAX_HELPER"  # variable of the environment that marks a helper
MEMORY = 0.9  # share of a GPU's memory that all jobs take together
END_SECONDS = 30.0  # for a helper to write its checkpoint


def is_helper() -> bool:
    """Whether another process started this one with `helpers`."""
    return HELPER in os.environ


def divide(jobs: int) -> list[set[int]]:
    """Divide this machine among several jobs, and give this process the first part.

    Call it before JAX starts its devices. A job that used all processors would wait for the others
    in every step. Of a GPU's memory JAX would take most.

    Returns:
      The processors of each job; empty sets where the system cannot divide them.
    """
    if jobs == 1:
        return [set()]
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{MEMORY / jobs:.3f}")
    if not hasattr(os, "sched_setaffinity"):
        return [set()] * jobs
    processors = sorted(os.sched_getaffinity(0))
    parts = [set(processors[k::jobs] or processors) for k in range(jobs)]
    os.sched_setaffinity(0, parts[0])
    return parts


@contextlib.contextmanager
def helpers(words: Sequence[str], parts: Sequence[set[int]]) -> Iterator[None]:
    """Inside, further processes run the same command, and compute stages that nobody works on.

    They say nothing. One that fails is reported at the end, and its work is done by the others. A
    helper that finds its standard input closed stops: at the end of the block, and also if this
    process is killed.

    Args:
      words: the command without the name of the program, as in `["run", "mtassl_digits"]`.
      parts: the processors of each helper; an empty set for those of this process.
    """
    started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
    home = str(Path(__file__).parents[1])  # where the program lies if it is not installed
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    with contextlib.ExitStack() as files:
        try:
            for processors in parts:
                written: IO[bytes] = files.enter_context(tempfile.TemporaryFile())
                helper = subprocess.Popen(
                    [sys.executable, "-m", "assl_jax", *words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=written,
                    env=os.environ | {"PYTHONPATH": path, HELPER: "1"},
                )
                started.append((helper, written))
                if processors:
                    os.sched_setaffinity(helper.pid, processors)
            yield
        finally:
            for helper, _ in started:
                assert helper.stdin
                helper.stdin.close()
            for number, (helper, written) in enumerate(started, 1):
                _end(number, helper, written)


def stop_with_parent() -> None:
    """In a helper: stop when the process that started it closes standard input, or ends."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _end(number: int, helper: subprocess.Popen[bytes], written: IO[bytes]) -> None:
    """Wait for a helper, and say how it failed."""
    try:
        status = helper.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        helper.kill()
        status = helper.wait()
    if status not in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT):
        written.seek(0)
        lines = written.read().decode(errors="replace").splitlines()
        why = f": {lines[-1].removeprefix('error: ')}" if lines else ""
        say(f"job {number} failed with exit status {status}{why}")
