"""Independent work, shared by several processes: a study whose stages others work on."""

import contextlib
import functools
import threading
import types
from pathlib import Path

import pytest

from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.stages import Busy, StageCache, claimed
from assl_jax.strategies.study import Study


class BusyStudy(Study):
    """Pieces of work with names, which other processes work on for so many tries."""

    def __init__(self, **busy):
        self.busy, self.done, self.waited = busy, [], []
        self.waiting = True
        self.setup = types.SimpleNamespace(stages=self)

    @contextlib.contextmanager
    def without_waiting(self):
        self.waiting = False
        try:
            yield
        finally:
            self.waiting = True

    def wait(self, folder):
        """Until the others have finished it."""
        self.waited.append(folder.name)
        self.busy[folder.name] = 0

    def work(self, name):
        assert not self.waiting
        if self.busy.get(name, 0) > 0:
            self.busy[name] -= 1
            raise Busy(Path(name))
        self.done.append(name)

    def do(self, *names):
        self.share([functools.partial(self.work, name) for name in names])
        assert self.waiting


def test_a_single_process_takes_the_work_in_its_order():
    study = BusyStudy()
    study.do("a", "b", "c")
    assert study.done == ["a", "b", "c"] and not study.waited


def test_work_of_another_process_comes_later():
    study = BusyStudy(a=1, b=4)
    study.do("a", "b", "c")
    assert study.done == ["c", "a", "b"] and study.waited == ["b"]  # nothing else was left


def test_where_all_is_busy_it_waits_for_one_and_tries_all():
    study = BusyStudy(a=9, b=1, c=9)
    study.do("a", "b", "c")
    assert study.done == ["a", "b", "c"] and study.waited == ["a", "c"]


def test_no_work():
    BusyStudy().do()


def test_an_error_is_not_hidden():
    study = BusyStudy()
    with pytest.raises(ZeroDivisionError):
        study.share([lambda: 1 / 0])
    assert study.waiting


@pytest.fixture
def order(make_study, monkeypatch):
    """A study, and the labels of the stages in the order in which it computes them."""
    computed, real = [], StageCache._compute

    def compute(cache, folder, compute, kind, label, *more):
        computed.append(f"{kind} {label}")
        return real(cache, folder, compute, kind, label, *more)

    monkeypatch.setattr(StageCache, "_compute", compute)
    return make_study, computed


@pytest.mark.slow
def test_the_pieces_are_the_stages_that_an_evaluation_computes(order):
    make, computed = order
    more = {"seeds": 1, "folds": 2, "pretrainings": 2, "learning_rates": (0.1, 0.2)}
    network = Network(("rotation",))
    study = make(**more, folder="one")
    study.evaluate(network)
    alone = list(computed)
    computed.clear()
    study = make(**more, folder="two")
    study.evaluate_all([network])
    assert computed == alone and len(alone) == 10  # 2 x (pretrain, 2 rates, finetune, select)


@pytest.mark.slow
def test_a_process_cross_validates_what_another_one_tests(order):
    make, computed = order
    study = make(seeds=1, folds=2)
    stage = study.evaluating.finetune(SCRATCH)
    (stage.folder / "done.json").unlink()
    computed.clear()
    with claimed(stage.folder), study.setup.stages.without_waiting():
        left = [piece for piece in study.evaluating.stages(SCRATCH) if study._try(piece)]
    assert computed == ["select scratch"] and len(left) == 1


def test_a_process_that_waits_says_for_what_and_goes_on_when_the_lock_is_free(tmp_path, capsys):
    folder = tmp_path / "pretrain-jigsaw+simclr-0a-1b"
    folder.mkdir()
    held, free = threading.Event(), threading.Event()

    def work():
        with claimed(folder):
            held.set()
            free.wait(60)

    other = threading.Thread(target=work)
    other.start()
    held.wait(60)
    threading.Timer(0.3, free.set).start()
    StageCache(tmp_path).wait(folder)
    assert free.is_set()
    other.join()
    said = f"waiting for {folder.name}, which another process works on\n"
    assert capsys.readouterr().err == said
