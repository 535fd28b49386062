"""Signals as a request to stop."""

import os
import signal

import pytest

from assl_jax.errors import Interrupted
from assl_jax.training.interrupt import check_stop, polite_stop, stop_requested


@pytest.fixture
def heard():
    """Signals that reach the handlers of before."""
    numbers = []
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for n in before:
        signal.signal(n, lambda number, frame: numbers.append(number))
    yield numbers
    for n, handler in before.items():
        signal.signal(n, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_the_second_acts(heard, number):
    with polite_stop():
        assert not stop_requested()
        check_stop("fine-tuning")
        os.kill(os.getpid(), number)
        assert stop_requested() and heard == []
        with pytest.raises(Interrupted, match="before fine-tuning"):
            check_stop("fine-tuning")
        os.kill(os.getpid(), number)
        assert heard == [number]
        assert stop_requested()
    assert not stop_requested()


def test_handlers_are_restored(heard):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), polite_stop():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    with polite_stop():  # an old request does not count
        assert not stop_requested()


@pytest.mark.slow
def test_a_real_signal_stops_training_with_a_checkpoint(toy, heard, tmp_path):
    from assl_jax.training.checkpoint import Checkpoints
    from assl_jax.training.loop import Logging

    def kill(record):
        if record["step"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    checkpoints = Checkpoints(tmp_path)
    with polite_stop(), pytest.raises(Interrupted, match="step 3 of 6"):
        toy.fit(checkpoints=checkpoints, logging=Logging(every=1, record=toy.Log(kill)))
    assert checkpoints.latest == 3
    checkpoints.close()
