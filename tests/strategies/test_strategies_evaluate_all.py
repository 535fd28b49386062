"""Independent networks, shared by several processes: a study whose stages others work on."""

import contextlib
import types

import pytest

from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.stages import Busy
from assl_jax.strategies.study import Study

A, B, C = (Network((name,)) for name in "abc")


class BusyStudy(Study):
    """Stages that are busy for so many tries; a process that waits gets them at once."""

    def __init__(self, busy):
        self.busy, self.done, self.waited = dict(busy), [], []
        self.waiting = True
        self.setup = types.SimpleNamespace(stages=self)

    @contextlib.contextmanager
    def without_waiting(self):
        self.waiting = False
        try:
            yield
        finally:
            self.waiting = True

    def evaluate(self, network):
        if self.busy.get(network, 0) > 0:
            self.busy[network] -= 1
            if not self.waiting:
                raise Busy(network.label)
            self.waited.append(network)
        self.done.append(network)


def test_a_single_process_takes_them_in_their_order():
    study = BusyStudy({})
    study.evaluate_all([SCRATCH, A, B])
    assert study.done == [SCRATCH, A, B] and study.waiting


def test_a_network_of_another_process_comes_later():
    study = BusyStudy({A: 1, B: 4})
    study.evaluate_all([A, B, C])
    assert study.done == [C, A, B] and study.waited == [B]  # nothing else was left
    assert study.waiting


def test_where_all_are_busy_it_waits_for_one():
    study = BusyStudy({A: 9, B: 9})
    study.evaluate_all((A, B))
    assert study.done == [A, B] == study.waited


def test_nothing_to_evaluate():
    BusyStudy({}).evaluate_all([])


def test_an_error_is_not_hidden():
    study = BusyStudy({})
    study.evaluate = lambda network: 1 / 0
    with pytest.raises(ZeroDivisionError):
        study.evaluate_all([A])
    assert study.waiting
