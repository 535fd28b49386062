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


@pytest.mark.slow
def test_a_real_signal_stops_training_with_a_checkpoint(toy, tmp_path):
    from assl_jax.training.checkpoint import Checkpoints
    from assl_jax.training.loop import Logging

    def kill(record):
        if record["step"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    checkpoints = Checkpoints(tmp_path)
    with stoppable(), pytest.raises(Interrupted, match="step 3 of 6"):
        toy.fit(checkpoints=checkpoints, logging=Logging(every=1, record=toy.Log(kill)))
    assert checkpoints.latest == 3
    checkpoints.close()
