"""Several processes that run one program: how they start, and what they agree on.

`jax.distributed` joins them. All of them call the functions below in the same order; one process
alone has nobody to ask, and they cost nothing.
"""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jax

# Its client waits without the devices and hears of a process that died; JAX has no public name.
from jax._src.distributed import global_state

from assl_jax.errors import InputError, require

START_SECONDS = 300  # for all processes to come
WAIT_SECONDS = 7 * 24 * 3600  # for the first, which may wait for other runs
ERROR_SECONDS = 30  # for the others to hear of an error, or to leave
_meetings = itertools.count()


def start(
    distributed: bool,
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    seconds: int = START_SECONDS,
) -> None:
    """Join the other processes, before JAX computes anything; alone if nothing is given.

    Args:
      distributed: let JAX find the others (SLURM, Open MPI, Kubernetes, TPU pods).
      coordinator, num_processes, process_id: where the first process listens ("host:port"), how
        many there are and which this is.
      seconds: to wait for the others.

    Raises:
      InputError: flags that do not fit together, no cluster, or a coordinator that does not answer.
    """
    by_hand = (coordinator, num_processes, process_id)
    if not distributed and by_hand == (None, None, None):
        return
    if by_hand != (None, None, None):
        require(
            None not in by_hand,
            "--coordinator=HOST:PORT, --num_processes and --process_id belong together; give all",
        )
        host, _, port = str(coordinator).rpartition(":")
        require(bool(host) and port.isdigit(), f"--coordinator={coordinator} is not HOST:PORT")
        require(
            0 <= int(process_id or 0) < int(num_processes or 0),
            f"--process_id={process_id} must be 0 to {num_processes} - 1 (--num_processes)",
        )
        # JAX would abort the process.
        require(
            process_id == 0 or _answers(host, int(port), seconds),
            f"--coordinator={coordinator} did not answer in {seconds} s; start process 0 there",
        )
    # Its handler would take SIGTERM, which asks for a polite stop here.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            *by_hand, initialization_timeout=seconds, shutdown_timeout_seconds=ERROR_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the processes did not come together ({reason}); --distributed is for SLURM, Open "
            "MPI, Kubernetes and TPU pods, otherwise give --coordinator, --num_processes and "
            "--process_id"
        ) from error


def alone() -> bool:
    """Whether there is no other process."""
    return global_state.num_processes == 1


def first() -> bool:
    """Whether this is the process that writes."""
    return global_state.process_id == 0


def gather(value: Any) -> list[Any]:
    """What each process has, in their order; JSON. Waits for all of them.

    Raises:
      InputError: another process has failed, see `together`.
    """
    if alone():
        return [value]
    said = _meet({"value": value}, WAIT_SECONDS)
    for number, message in enumerate(said):
        if "error" in message:
            raise _Elsewhere(f"process {number}: {message['error']}")
    return [message["value"] for message in said]


def agree(value: Any) -> Any:
    """What the first process has, on all of them; JSON."""
    return gather(value if first() else None)[0]


def barrier() -> None:
    """Wait until all processes have come here."""
    gather(None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """An error inside of one process ends all: the others raise it where they next `gather`."""
    try:
        yield
    except _Elsewhere:
        raise
    except Exception as error:
        if not alone():
            with contextlib.suppress(RuntimeError):  # nobody comes: they end with this process
                _meet({"error": str(error) or type(error).__name__}, ERROR_SECONDS)
        raise


def _answers(host: str, port: int, seconds: int) -> bool:
    """Whether somebody listens there before the time is over."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.2)


class _Elsewhere(InputError):
    """An error of another process."""


def _meet(message: dict[str, Any], seconds: int) -> list[dict[str, Any]]:
    """Hand in a message, wait for all, read those of all."""
    client: Any = global_state.client
    number = next(_meetings)
    client.key_value_set(f"assl_jax/{number}/{global_state.process_id:06}", json.dumps(message))
    client.wait_at_barrier(f"assl_jax/{number}", 1000 * seconds)
    said = client.key_value_dir_get(f"assl_jax/{number}/")
    if first() and number:
        client.key_value_delete(f"assl_jax/{number - 1}/")  # all have read that: they are here
    return [json.loads(text) for _, text in sorted(said)]
