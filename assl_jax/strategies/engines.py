"""Where stages are computed: in this process, in several of this machine, or on a Dask cluster.

Each engine hands work to a `concurrent.futures.Executor`. What is sent says which run it is and the
name of a stage, nothing else; a worker makes the run's plan itself and finds the stage in it.
"""

import concurrent.futures as futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from assl_jax.console import set_quiet
from assl_jax.errors import InputError, require

MEMORY = 0.9  # share of a GPU's memory that all processes of a machine take together
DASK = "dask://"


class Engine(Protocol):
    """Gives executors.

    Attributes:
      workers: number of stages that are computed at the same time.
      lost: what an executor raises about a worker that is gone.
    """

    workers: int
    lost: tuple[type[BaseException], ...]

    def executor(self) -> futures.Executor:
        """The executor; a new one after `renew`."""

    def renew(self) -> None:
        """Replace an executor whose workers were lost."""

    def close(self) -> None:
        """Stop the workers."""


class Inline(futures.Executor):
    """Computes at once what it is given, in this thread."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> futures.Future:
        future: futures.Future = futures.Future()
        future.set_result(fn(*args, **kwargs))  # an error is the caller's
        return future


class Here:
    """This process."""

    workers = 1
    lost: tuple[type[BaseException], ...] = ()

    def executor(self) -> futures.Executor:
        return Inline()

    def renew(self) -> None: ...

    def close(self) -> None: ...


class Processes:
    """Several processes of this machine, each with a part of its processors and of a GPU's memory.

    Args:
      workers: their number, at least 2.
    """

    lost: tuple[type[BaseException], ...] = (futures.BrokenExecutor,)

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: futures.ProcessPoolExecutor | None = None
        # JAX would take most of a GPU's memory for this process; the workers inherit the limit.
        part = f"{MEMORY / (workers + 1):.3f}"
        # XLA divides work among so many threads, and sums in their order. A worker with fewer
        # processors gives the same numbers only with as many threads as one process has.
        os.environ.setdefault("NPROC", str(len(set().union(*shares(1))) or os.cpu_count()))
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", part)

    def executor(self) -> futures.Executor:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            parts = spawn.SimpleQueue()
            for part in shares(self.workers):
                parts.put(part)
            self._pool = futures.ProcessPoolExecutor(
                self.workers,
                mp_context=spawn,
                initializer=_begin_worker,
                initargs=(parts,),
            )
        return self._pool

    def renew(self) -> None:
        self.close()

    def close(self) -> None:
        if self._pool:
            pool, self._pool = self._pool, None
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:  # a worker that computes writes its checkpoint first
                with contextlib.suppress(ProcessLookupError, AttributeError):
                    process.terminate()
            for process in processes:
                process.join()


class Dask:
    """The workers of an existing Dask cluster, which see the same folders as this machine.

    Args:
      address: of its scheduler, HOST:PORT.

    Raises:
      InputError: Dask is not installed, or no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise InputError(
                f"--engine={DASK}{address} needs Dask: pip install 'dask[distributed]'"
            ) from error
        try:
            self._client = distributed.Client(f"tcp://{address}", timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--engine={DASK}{address}: no Dask scheduler answers there"
            ) from error
        self.lost: tuple[type[BaseException], ...] = (
            distributed.KilledWorker,
            futures.CancelledError,
        )
        self.workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if not self.workers:
            self._client.close()
            raise InputError(f"--engine={DASK}{address}: the cluster has no workers; start some")

    def executor(self) -> futures.Executor:
        # One stage of a worker at a time, and never a result of an earlier call.
        return self._client.get_executor(pure=False, retries=0)

    def renew(self) -> None:
        self.workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def close(self) -> None:
        self._client.close()


@contextlib.contextmanager
def make_engine(name: str, jobs: int) -> Iterator[Engine]:
    """The engine of a command, whose workers stop at the end of the block.

    Args:
      name: "" for this machine, or `dask://HOST:PORT`.
      jobs: processes of this machine.

    Raises:
      InputError: an unknown engine, or one that cannot be used.
    """
    require(jobs >= 1, f"--jobs={jobs} must be at least 1")
    if name:
        require(name.startswith(DASK), f"--engine={name} must be {DASK}HOST:PORT")
        require(jobs == 1, f"--jobs={jobs} is for this machine; leave it out with --engine={name}")
    with contextlib.closing(
        Dask(name.removeprefix(DASK)) if name else Processes(jobs) if jobs > 1 else Here()
    ) as engine:
        yield engine


def shares(workers: int) -> Sequence[set[int]]:
    """The processors of each worker; empty sets where the system cannot divide them.

    A worker that used all processors would wait for the others in every step.
    """
    if not hasattr(os, "sched_setaffinity"):
        return [set()] * workers
    processors = sorted(os.sched_getaffinity(0))
    return [set(processors[k::workers] or processors) for k in range(workers)]


def _begin_worker(parts: Any) -> None:
    """Take a share of the processors before JAX starts, and end with the parent process."""
    if part := parts.get():
        os.sched_setaffinity(0, part)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the first process answers it
    set_quiet(True)
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        # A stage has answered and written its checkpoint. Then nobody gives work any more.
        while signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
