"""Work that several processes share: by a fake study whose stages others are at."""

import types

from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.share import share
from assl_jax.strategies.stages import Busy

A, B, C = (Network((name,)) for name in "abc")


class FakeStudy:
    """Stages that are busy for so many tries; a process that waits gets them at once."""

    def __init__(self, busy):
        self.busy, self.done, self.waited = dict(busy), [], []
        self.stages = types.SimpleNamespace(wait=True)

    def evaluate(self, network):
        if self.busy.get(network, 0) > 0:
            self.busy[network] -= 1
            if not self.stages.wait:
                raise Busy(network.label)
            self.waited.append(network)
        self.done.append(network)


def test_alone_a_process_takes_them_in_their_order():
    study = FakeStudy({})
    share(study, [SCRATCH, A, B])
    assert study.done == [SCRATCH, A, B] and study.stages.wait


def test_what_another_process_is_at_comes_later():
    study = FakeStudy({A: 1, B: 4})
    share(study, [A, B, C])
    assert study.done == [C, A, B] and study.waited == [B]  # nothing else was left
    assert study.stages.wait


def test_where_all_is_taken_it_waits_for_one():
    study = FakeStudy({A: 9, B: 9})
    share(study, (A, B))
    assert study.done == [A, B] == study.waited


def test_nothing_to_share():
    share(FakeStudy({}), [])
