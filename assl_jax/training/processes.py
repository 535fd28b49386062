"""Several processes that run one program: how they start, and how they exchange values.

`jax.distributed` connects them. All processes call the functions below in the same order. A single
process has nobody to wait for, and the functions cost nothing.
"""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jax

from assl_jax import console, signals
from assl_jax.errors import InputError, require

START_SECONDS = 300  # until all processes are connected
WAIT_SECONDS = 7 * 24 * 3600  # for the primary process, which may wait for other runs
ERROR_SECONDS = 30  # for the other processes to receive an error, or to leave
_exchanges = itertools.count()


def initialize(
    distributed: bool,
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    seconds: int = START_SECONDS,
) -> None:
    """Connect to the other processes, before JAX computes anything; do nothing without arguments.

    `distributed` lets JAX find them (SLURM, Open MPI, Kubernetes, TPU pods). Otherwise the primary
    process has the address "host:port", and this one a number from 0.

    Raises:
      InputError: flags that do not fit together, no cluster, or a coordinator that does not answer.
    """
    by_hand = (coordinator, num_processes, process_id)
    given = by_hand != (None, None, None)
    if not distributed and not given:
        return
    if given:
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
    # JAX's handler would take SIGTERM, which `signals` handles.
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
    console.set_quiet(not is_primary())
    if not is_single():
        signals.share()


def is_single() -> bool:
    """Whether this is the only process."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def is_primary() -> bool:
    """Whether this process writes files and speaks."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """The JSON values of all processes, in their order. Waits for all of them.

    An `InputError` says that another process has failed, see `share_errors`.
    """
    if is_single():
        return [value]
    messages = _exchange({"value": value}, WAIT_SECONDS)
    for number, message in enumerate(messages):
        if "error" in message:
            raise _RemoteError(f"process {number}: {message['error']}")
    return [message["value"] for message in messages]


def broadcast(value: Any) -> Any:
    """The JSON value of the primary process, in every process."""
    return gather(value if is_primary() else None)[0]


def barrier() -> None:
    """Wait until all processes have called this."""
    gather(None)


@contextlib.contextmanager
def share_errors() -> Iterator[None]:
    """Send an error of one process to all others, which raise it at their next `gather`."""
    try:
        yield
    except (_RemoteError, BrokenPipeError):  # with a closed pipe, this process ends after its work
        raise
    except Exception as error:
        if not is_single():
            with contextlib.suppress(RuntimeError):  # nobody comes: they end with this process
                _exchange({"error": str(error) or type(error).__name__}, ERROR_SECONDS)
        raise


def _answers(host: str, port: int, seconds: int) -> bool:
    """Whether a server listens there before the time is over."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.2)


class _RemoteError(InputError):
    """An error of another process."""


def _exchange(message: dict[str, Any], seconds: int) -> list[dict[str, Any]]:
    """Send a message, wait for all processes, read the messages of all."""
    # JAX's key-value store waits without the devices and notices a process that died. JAX gives it
    # no public name; Orbax does.
    import orbax.checkpoint as ocp

    client: Any = ocp.multihost.get_jax_distributed_client()
    number = next(_exchanges)
    client.key_value_set(f"assl_jax/{number}/{jax.process_index():06}", json.dumps(message))
    client.wait_at_barrier(f"assl_jax/{number}", 1000 * seconds)
    texts = client.key_value_dir_get(f"assl_jax/{number}/")
    if is_primary() and number:
        # All processes are here, so all have read the messages before.
        client.key_value_delete(f"assl_jax/{number - 1}/")
    return [json.loads(text) for _, text in sorted(texts)]
