"""Independent work, split over the processes that share a folder of stages."""

from collections.abc import Sequence

from assl_jax.strategies.network import Network
from assl_jax.strategies.stages import Busy
from assl_jax.strategies.study import Study


def share(study: Study, networks: Sequence[Network]) -> None:
    """Evaluate all of these, in any order, together with other processes at the same work.

    What another process is at is left for later; in the end all of it is finished. Alone, a process
    takes them in their order.
    """
    while networks:
        left = [network for network in networks if not _evaluated(study, network)]
        if left == list(networks):  # all of them are being worked on: wait for one
            study.evaluate(left.pop(0))
        networks = left


def _evaluated(study: Study, network: Network) -> bool:
    """Evaluate, unless another process is at it."""
    study.stages.wait = False
    try:
        study.evaluate(network)
    except Busy:
        return False
    finally:
        study.stages.wait = True
    return True
