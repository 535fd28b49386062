"""The plan: what is to be done, counted by hand, what is finished, and what is left of a run."""

import time
import types

import numpy as np
import pytest

from assl_jax import console
from assl_jax.records import SCRATCH, Network
from assl_jax.strategies import outlook
from assl_jax.strategies.finetuning import finetune
from assl_jax.strategies.mtassl import at_most
from assl_jax.strategies.outlook import Outlook, Pace, pace
from assl_jax.strategies.pretraining import step_flops_of
from assl_jax.strategies.pricing import cost, planned, together
from assl_jax.strategies.settings import SearchSettings

SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
TITLES = ["fine-tune from scratch", "pretrain rotation", "fine-tune rotation"]


def test_what_a_study_begins_with(lab):
    tiny = lab()
    scratch, pretrain, finetune = works = planned(tiny.evidence, [ROTATION])
    assert [work.title for work in works] == TITLES
    # Two seeds on all labels and two folds, of 2 steps each.
    assert (scratch.steps, pretrain.steps, finetune.steps) == (8, 4, 8)
    assert pretrain.flops == 4 * step_flops_of(tiny.study, ROTATION)
    # A step on 8 images: a convolution of 3x3 to 6 channels at 8x8 positions, a head of 2 classes,
    # forward and both gradients. Then the predictions: 2 times 20 test images, 2 folds of 8.
    image = 2 * (9 * 6 * 64 + 6 * 2)
    assert scratch.flops == finetune.flops == image * (3 * 8 * 8 + 2 * 20 + 2 * 8)
    assert not any(work.finished for work in works) and not tiny.folder.exists()
    # Every pretraining counts.
    twice = planned(lab(pretrainings=2).evidence, [ROTATION])
    for one, two, factor in zip(works, twice, (1, 2, 2), strict=True):
        assert two.title == one.title and two.steps == factor * one.steps
        assert two.flops == pytest.approx(factor * one.flops)


def test_the_choice_of_a_learning_rate_is_planned(lab):
    # Two seeds on all labels, two folds for each of three rates, and two folds for the selection.
    (scratch,) = planned(lab(learning_rates=(1e-4, 1e-3, 1e-2)).evidence, [])
    assert scratch.steps == 2 * (2 + 3 * 2 + 2)
    (scratch,) = planned(lab(learning_rates=(1e-4, 1e-3), selects=False).evidence, [])
    assert scratch.steps == 2 * (2 + 2 * 2)


def test_parts_are_only_pretrained(lab):
    pool = lab().study.pool(("rotation", "src"))
    works = planned(lab().evidence, [pool], [ROTATION])
    assert [work.title for work in works] == [
        *TITLES[:2],
        "pretrain rotation + src",
        "fine-tune rotation + src",
    ]


def test_at_a_rung_a_part_is_pretrained_and_nothing_is_tested(lab):
    tiny = lab(folds=3, steps=8, rungs=(0.25, 0.5))
    _, pretrain, finetune = planned(tiny.evidence, [tiny.study.single("rotation", 0.25)])
    assert (pretrain.title, pretrain.steps) == ("pretrain rotation, 25 % of its pretraining", 2)
    assert pretrain.flops == 2 * step_flops_of(tiny.study, ROTATION)
    assert finetune.steps == 3 * 2
    assert not any(w.finished for w in planned(tiny.evidence, [tiny.study.single("src", 0.5)]))
    assert not tiny.folder.exists()  # to look for an earlier rung computes nothing


@pytest.mark.slow
def test_what_is_finished(lab):
    tiny = lab()
    tiny.evaluate(SCRATCH)
    tiny.pretrain(ROTATION)
    asked = list(tiny.stages.finished)
    assert [w.finished for w in planned(tiny.evidence, [ROTATION])] == [True, True, False]
    tiny.run(finetune(tiny.study, ROTATION, 1e-3))  # the cross-validation is missing
    assert not planned(tiny.evidence, [ROTATION])[-1].finished
    tiny.evaluate(ROTATION)
    again = lab()
    assert all(work.finished for work in planned(again.evidence, [ROTATION]))
    assert not again.stages.finished  # the plan has looked, and the run has asked for nothing
    assert list(tiny.stages.finished)[: len(asked)] == asked


def test_the_pace_of_this_machine(lab):
    found = pace(lab().study)
    assert found.flops_per_s > 0 and found.host_bytes > 2**20 and found.device_bytes is None


def test_all_processes_have_the_pace_of_the_primary_one(lab, monkeypatch):
    """It computes 16 images a second, two steps; what the others measure does not count."""
    monkeypatch.setattr(outlook, "broadcast", lambda measured: 2.0)
    tiny = lab()
    assert pace(tiny.study).flops_per_s == 2 * step_flops_of(tiny.study, tiny.study.single("src"))


def by_title(lab, settings):
    return {work.title: work for work in at_most(lab.evidence, settings)}


PAPER = SearchSettings(as_printed=True)


def test_the_pool_by_hand(lab):
    tiny = lab()
    found = by_title(tiny, PAPER)
    _, train, tune = planned(tiny.evidence, [tiny.study.pool(("src", "rotation"))])
    assert list(found) == ["pools, at most 1"]
    # Four steps, and two fine-tunings on all labels and two on folds, of two steps each.
    assert found["pools, at most 1"].steps == 4 + 8
    assert found["pools, at most 1"].flops == train.flops + tune.flops
    assert not tiny.folder.exists()


def test_rounds_cost_what_the_budget_leaves(lab):
    tiny = lab()
    begun = cost(tiny.evidence, [SCRATCH, SRC, ROTATION])
    assert by_title(tiny, SearchSettings())["rounds"].flops == pytest.approx(begun)
    left = by_title(tiny, SearchSettings(budget="1TFLOP"))["rounds"]
    assert left.flops == pytest.approx(1e12 - begun)
    each = max(cost(tiny.evidence, [n]) for n in (SRC, ROTATION))  # 4 steps, and 4 times 2
    assert left.steps == round((1e12 - begun) / each * 12)


def test_one_task_is_followed_by_nothing(lab):
    assert at_most(lab(tasks=("rotation",)).evidence, PAPER) == []


def test_every_candidate_and_every_rung(lab):
    tiny = lab(tasks=("rotation", "src", "simclr", "vicreg"), rungs=(0.25, 0.5))
    found = by_title(tiny, SearchSettings(rungs=(0.25, 0.5)))
    # Four tasks become two after a quarter; two are no longer halved.
    assert list(found) == ["after 0.25 of the steps, the better half", "rounds"]
    plain = by_title(tiny, SearchSettings(candidates="all", as_printed=True))
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
def test_what_is_left_shrinks_with_each_stage(lab, clock):
    tiny = lab()
    begins = planned(tiny.evidence, [ROTATION])
    follows = together("more", tiny.evidence, [SRC])
    total = [sum(work.flops for work in works) for works in (begins, follows)]
    ahead = Outlook(tiny.evidence, begins, follows, Pace(sum(total) / 1000, None, None))
    tiny.stages.told = ahead.finished
    ahead.tell()
    least = 1000 * total[0] / sum(total)
    assert console._left == pytest.approx((least, 1000))
    clock[0] = least  # all goes as planned
    tiny.evaluate(SCRATCH)
    tiny.evaluate(ROTATION)
    left = np.array(console._left) - clock[0]
    assert left == pytest.approx([0, 1000 - least], rel=1e-6, abs=1e-6 * least)
    tiny.evaluate(ROTATION)  # read again: nothing is counted twice
    assert np.array(console._left) - clock[0] == pytest.approx(left)
