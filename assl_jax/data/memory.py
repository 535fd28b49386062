"""What a setting or a file asks for, compared with the memory of the machine before it is taken."""

import contextlib
import os
from pathlib import Path

from assl_jax.errors import require

LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, in bytes or "max"


def afford(need: float, what: str, remedy: str) -> None:
    """Refuse more bytes than this machine's memory has.

    `what` needs them, such as "data.side=8192 for 500 images", and `remedy` says what to do.
    """
    there = memory()
    require(
        need <= there,
        f"{what} needs {need / 1e9:,.1f} GB of memory, and this machine has {there / 1e9:,.1f} GB; "
        f"{remedy}",
    )


def memory() -> float:
    """The machine's memory, or this container's, in bytes; infinite where it is not known."""
    found = float("inf")
    with contextlib.suppress(ValueError, OSError, AttributeError):  # Windows has no `sysconf`
        found = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):
        found = min(found, float(LIMIT.read_text()))
    return found
