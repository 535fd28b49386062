"""What may follow the first networks of a search, and what is left of a run."""

import time
import types

import pytest

from assl_jax import console
from assl_jax.strategies import outlook
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.outlook import Outlook, of_search, together
from assl_jax.strategies.plan import Pace, planned, works_of
from assl_jax.strategies.settings import SearchSettings
from assl_jax.tasks import make_task

TASKS = ("rotation", "src")


def by_title(works):
    return {work.title: work for work in works}


def test_the_pool_and_its_control_by_hand(make_study):
    study = make_study(seeds=2, folds=2, steps=4)
    found = by_title(of_search(study, TASKS, (), SearchSettings()))
    pool = Network(("src", "rotation"))
    alone = {name: 4 * study.pretraining.mixing.flops_of_a_step(Network((name,))) for name in TASKS}
    train, tune = works_of(study, pool)
    assert list(found) == [
        "pools, at most 1",
        "one task as long as the largest pool",
        "comparisons on further folds",
    ]
    # Four steps, and two fine-tunings on all labels and two on folds, of two steps each.
    assert found["pools, at most 1"].steps == 4 + 8
    assert found["pools, at most 1"].flops == train.flops + tune.flops
    control = found["one task as long as the largest pool"]
    assert control.flops == pytest.approx(sum(alone.values()) + train.flops + tune.flops)
    # Scratch, the first task, the pool and the control: two folds of two steps.
    assert found["comparisons on further folds"].steps == 4 * 2 * 2
    assert not list(study.setup.stages.folder.glob("*"))


@pytest.mark.parametrize(
    "settings, titles",
    [
        ({"control": False}, ["pools, at most 1", "comparisons on further folds"]),
        ({"control": False, "accept": "not_worse"}, ["pools, at most 1"]),
        ({"control": False, "select_on": "test"}, ["pools, at most 1"]),
    ],
)
def test_what_is_switched_off_is_not_planned(make_study, settings, titles):
    works = of_search(make_study(), TASKS, (), SearchSettings(**settings))
    assert [work.title for work in works] == titles


def test_one_task_is_followed_by_nothing(make_study):
    assert of_search(make_study(), ("rotation",), (), SearchSettings()) == []


def test_every_candidate_and_every_rung(make_study):
    names = ("rotation", "src", "simclr", "vicreg")
    intensity = make_study().setup.dataset.intensity
    tasks = {name: make_task(name, intensity=intensity) for name in names}
    study = make_study(tasks=tasks, rungs=(0.25, 0.5))
    settings = SearchSettings(candidates="all", rungs=(0.25, 0.5))
    found = by_title(of_search(study, names, (), settings))
    # Four tasks become two after a quarter; two are no longer halved.
    assert list(found)[:2] == ["after 0.25 of the steps, the better half", "pools, at most 1"]
    assert len(found) == 4
    plain = by_title(of_search(study, names, (), SearchSettings(candidates="all")))
    assert "pools, at most 6" in plain  # 3 of two tasks, 2 of three, 1 of four


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    stopped = types.SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    for module in (console, outlook):
        monkeypatch.setattr(module, "time", stopped)
    yield now
    console.expect_nothing()


@pytest.mark.slow
def test_what_is_left_shrinks_with_each_stage(make_study, clock):
    study = make_study()
    rotation = Network(("rotation",))
    begins = planned(study, [rotation])
    follows = together("more", study, [Network(("src",))])
    total = [sum(work.flops for work in works) for works in (begins, follows)]
    ahead = Outlook(study, begins, follows, Pace(sum(total) / 1000, None, None))
    study.setup.stages.told = ahead.finished
    ahead.tell()
    least = 1000 * total[0] / sum(total)
    assert console._left == pytest.approx((least, 1000))
    clock[0] = least  # all goes as planned
    study.evaluate(SCRATCH)
    study.evaluate(rotation)
    start, end = (at - clock[0] for at in console._left)
    assert start == pytest.approx(0, abs=1e-6 * least)
    assert end == pytest.approx(1000 - least, rel=1e-6)
    study.evaluate(rotation)  # read again: nothing is counted twice
    assert console._left == pytest.approx((clock[0] + start, clock[0] + end))
