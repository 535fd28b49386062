"""Refuses features and weights that are no usable numbers, before they reach a table."""

import contextlib
from collections.abc import Iterator

import numpy as np

from assl_jax.errors import InputError

LARGEST = 1e30  # up to here float32 holds the differences and means that similarities need


class NotFinite(InputError):
    """A network's numbers that are NaN, infinite or huge. `of_network` names the network."""


def check_finite(what: str, *arrays: np.ndarray) -> None:
    """Raise `NotFinite` where a number of a network is NaN, infinite or above 1e30.

    `what` names the numbers in the plural.
    """
    # A comparison with NaN is false.
    if not all(np.abs(array).max(initial=0) < LARGEST for array in arrays):
        raise NotFinite(
            f"{what} that are not finite, or above {LARGEST:g}; lower the learning rate, or clip "
            "the gradient (clip_norm)"
        )


@contextlib.contextmanager
def of_network(label: str) -> Iterator[None]:
    """Inside, a `NotFinite` becomes an `InputError` that names the network `label`."""
    try:
        yield
    except NotFinite as error:
        raise InputError(f"network {label} has {error}") from error
