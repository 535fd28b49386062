"""Successive halving: which tasks go on, and that a training goes on as if it had not stopped."""

import dataclasses

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.strategies import mtassl
from assl_jax.strategies.network import Network
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings
from assl_jax.tasks import make_task
from assl_jax.training.checkpoint import load_tree
from assl_jax.training.metrics_log import MetricsLog

TASKS = ("src", "rotation", "simclr")
SINGLES = {"a": 0.5, "b": 0.4, "c": 0.9, "d": 0.3, "e": 0.2}


def search(fake_study, parts, tasks="abcde", **settings):
    """What the search found, and its study, with the values of `parts` at the rungs."""
    pairs = {((x,), (y,)): 0.5 for x in tasks for y in tasks if x < y}
    pools = {(x, y): 0.1 for x in tasks for y in tasks if x != y}
    study = fake_study({(): 0.1} | {(t,): v for t, v in SINGLES.items()} | pools, pairs)
    study.parts = {(share, task): v for share, of in parts.items() for task, v in of.items()}
    settings = SearchSettings(**AS_PRINTED | {"rungs": tuple(parts)} | settings)
    return mtassl.search(study, tasks=tuple(tasks), settings=settings), study


def test_the_better_half_goes_on_after_each_rung(fake_study):
    parts = {
        0.25: {"a": 0.3, "b": 0.5, "c": 0.1, "d": 0.4, "e": 0.2},
        0.5: {"a": 0.6, "b": 0.3, "d": 0.4},
    }
    found, study = search(fake_study, parts)
    assert study.looked == [
        [(0.25, task) for task in "abcde"],
        [(0.5, task) for task in "abd"],
    ]
    assert [rung.kept for rung in found.rungs] == [("a", "b", "d"), ("a", "d")]
    assert list(found.rungs[0].values) == ["b", "d", "a", "e", "c"]
    assert found.rungs[1].values["a"].mean == 0.6 and found.rungs[1].share == 0.5
    assert set(found.singles) == {"a", "d"} and found.best.pool == ("a",)
    # c, the best one in the end, was left out before it was trained.
    assert not {task for pool in study.trained for task in pool} & {"b", "c", "e"}


def test_two_tasks_stay(fake_study):
    found, study = search(fake_study, {0.1: {"a": 0.1, "b": 0.2, "c": 0.3}, 0.2: {}}, "abc")
    assert [rung.kept for rung in found.rungs] == [("b", "c")] and set(found.singles) == {"b", "c"}
    assert study.looked == [[(0.1, task) for task in "abc"]]
    found, study = search(fake_study, {0.1: {}}, "ab")
    assert not found.rungs and not study.looked


@pytest.mark.parametrize("tasks, share", [("ab", 1.0), ("abc", 0.1)])
def test_what_a_search_begins_with(tasks, share):
    found = mtassl.begins_with(tasks, "t", SearchSettings(rungs=(0.1, 0.2)))
    assert found == [*(Network((name,), share=share) for name in tasks), Network(("t",))]


def test_the_lower_loss_is_the_better_one(fake_study):
    parts = {0.5: {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}}
    found, _ = search(fake_study, parts, "abcd", metric="log_loss", select_on="cv")
    assert found.rungs[0].kept == ("a", "d")


def test_without_rungs_every_task_is_trained(fake_study):
    found, study = search(fake_study, {})
    assert found.rungs == () and study.looked == [] and set(found.singles) == set(SINGLES)


@pytest.mark.parametrize("rungs", [(0.5, 0.25), (0.5, 0.5), (0.0,), (1.0,), (-0.5,)])
def test_rungs_are_rising_shares(rungs):
    with pytest.raises(InputError, match=r"^search.rungs=.* rising shares between 0 and 1"):
        SearchSettings(rungs=rungs)


def test_rungs_do_not_look_at_the_test_set():
    with pytest.raises(InputError, match=r"^search.rungs=\(0.5,\) needs search.select_on=cv$"):
        SearchSettings(rungs=(0.5,), select_on="test")


@pytest.mark.slow
def test_a_training_with_rungs_ends_as_one_without(make_study, steps_taken):
    """No step is repeated, and the weights and the log are the same."""
    rotation = Network(("rotation",))
    plain = make_study(folder="plain", steps=8)
    expected = plain.pretraining.run(rotation)
    assert len(steps_taken) == 8
    study = make_study(folder="rungs", steps=8, rungs=(0.25, 0.5))
    parts = [dataclasses.replace(rotation, share=share) for share in (0.25, 0.5)]
    steps_taken.clear()
    each = [study.evaluating.selection(part) for part in parts]
    pretraining = [name for name in steps_taken if name == "rotation"]
    assert len(pretraining) == 4 and len(each[0].runs) == 2
    found = study.pretraining.run(rotation)
    assert len([name for name in steps_taken if name == "rotation"]) == 8
    trees = [load_tree(stage.folder / "backbone" / "variables") for stage in (expected, found)]
    jax.tree.map(np.testing.assert_array_equal, *trees)
    logs = [
        {r.key[1:]: r.values["loss"] for r in MetricsLog(s.folder).read() if "loss" in r.values}
        for s in (expected, found)
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 8
    records = MetricsLog(found.folder).read()
    assert {(r.stage, r.label) for r in records} == {(found.folder.name, "rotation")}
    costs = [study.pretraining.cost(network) for network in (*parts, rotation)]
    assert [cost / costs[-1] for cost in costs] == pytest.approx([0.25, 0.5, 1.0])


@pytest.mark.slow
def test_a_search_from_rung_to_rung_reads_what_is_finished(make_study, steps_taken):
    settings = SearchSettings(**AS_PRINTED | {"rungs": (0.5,)})
    intensity = make_study().setup.dataset.intensity
    tasks = {name: make_task(name, intensity=intensity) for name in TASKS}

    def run():
        study = make_study(rungs=(0.5,), seeds=1, tasks=tasks)
        return mtassl.search(study, tasks=TASKS, settings=settings)

    found = run()
    (rung,) = found.rungs
    assert set(rung.values) == {*TASKS} and set(found.singles) == {*rung.kept}
    assert len(rung.kept) == 2
    steps_taken.clear()
    assert run() == found and not steps_taken
