"""A stop that training notices."""

import os
import signal

import pytest

from assl_jax.errors import Interrupted
from assl_jax.signals import deferred, stoppable
from assl_jax.training.interrupt import check_stop, stop_requested


def test_work_begins_until_a_stop_is_requested():
    with stoppable(), pytest.raises(Interrupted, match="^stopped$"), deferred():
        assert not stop_requested()
        check_stop("fine-tuning")
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_requested()
        with pytest.raises(Interrupted, match="before fine-tuning"):
            check_stop("fine-tuning")
    assert not stop_requested()
