"""What processes that train together do about Ctrl-C and SIGTERM: they stop at the same step."""

from assl_jax import signals
from assl_jax.errors import Interrupted
from assl_jax.training.processes import gather, is_single


def stop_requested(exchange: bool = True) -> bool:
    """Whether a process received a signal since `signals.stoppable` was entered.

    All processes must call this with the same `exchange`: whether they tell each other. Without it
    the answer of several processes is no. A single process always knows.
    """
    if is_single():
        return signals.asked()
    return exchange and any(gather(signals.asked()))


def check_stop(work: str) -> None:
    """Raise `Interrupted` if a stop was requested; all processes call this before `work`."""
    if stop_requested():
        raise Interrupted(f"stopped before {work}")
