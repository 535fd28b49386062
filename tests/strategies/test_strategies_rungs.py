"""Successive halving: which tasks go on, and that a training goes on as if it had not stopped."""

import jax
import numpy as np
import pytest

from assl_jax.records import Network
from assl_jax.strategies import mtassl
from assl_jax.strategies.candidates import begins_with
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings
from assl_jax.training.metrics_log import MetricsLog

SINGLES = {"a": 0.5, "b": 0.4, "c": 0.9, "d": 0.3, "e": 0.2}
ROTATION = Network(tasks=("rotation",))


@pytest.fixture
def search(fake, drive):
    """`search(parts, tasks, ...)`: what is found, and the evidence, with `parts` at the rungs."""

    def run(parts, tasks="abcde", **settings):
        pairs = {f"{x}|{y}": 0.5 for x in tasks for y in tasks if x < y}
        pools = {f"{x} {y}": 0.1 for x in tasks for y in tasks if x < y}
        evidence = fake({task: SINGLES[task] for task in tasks} | pools, pairs)
        evidence.selections |= {
            f"{task}.part{share:g}": v for share, of in parts.items() for task, v in of.items()
        }
        evidence.accuracies |= evidence.selections
        settings = SearchSettings(
            as_printed=True, **AS_PRINTED | {"rungs": tuple(parts)} | settings
        )
        return drive(mtassl.search(evidence, settings)), evidence

    return run


def test_the_better_half_goes_on_after_each_rung(search):
    parts = {
        0.25: {"a": 0.3, "b": 0.5, "c": 0.1, "d": 0.4, "e": 0.2},
        0.5: {"a": 0.6, "b": 0.3, "d": 0.4},
    }
    found, evidence = search(parts)
    assert evidence.looked == [
        [f"{task}.part0.25" for task in "abcde"],
        [f"{task}.part0.5" for task in "abd"],
    ]
    assert [rung.kept for rung in found.rungs] == [("a", "b", "d"), ("a", "d")]
    assert list(found.rungs[0].values) == ["b", "d", "a", "e", "c"]
    assert found.rungs[1].values["a"].mean == 0.6 and found.rungs[1].share == 0.5
    assert set(found.singles) == {"a", "d"} and found.best.network.label == "a"
    # c, the best one in the end, was left out before it was trained.
    assert evidence.trained == ["scratch", "a", "d", "a+d"]


def test_two_tasks_stay(search):
    found, evidence = search({0.1: {"a": 0.1, "b": 0.2, "c": 0.3}, 0.2: {}}, "abc")
    assert [rung.kept for rung in found.rungs] == [("b", "c")] and set(found.singles) == {"b", "c"}
    assert evidence.looked == [[f"{task}.part0.1" for task in "abc"]]
    for parts, tasks in (({0.1: {}}, "ab"), ({}, "abcde")):
        found, evidence = search(parts, tasks)
        assert not found.rungs and not evidence.looked and set(found.singles) == {*tasks}


@pytest.mark.parametrize("tasks, share", [("ab", 1.0), ("abc", 0.1)])
def test_what_a_search_begins_with(fake, tasks, share):
    study = fake(dict.fromkeys([*tasks, "t"], 0.0), teachers=("t",)).study
    found = begins_with(study, SearchSettings(rungs=(0.1, 0.2)))
    assert found == [*(Network(tasks=(n,), share=share) for n in tasks), Network(given="t")]


def test_the_lower_loss_is_the_better_one(search):
    parts = {0.5: {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}}
    found, _ = search(parts, "abcd", metric="log_loss", select_on="cv")
    assert found.rungs[0].kept == ("a", "d")


@pytest.mark.slow
def test_a_training_with_rungs_ends_as_one_without(lab, steps_taken):
    """No step is repeated, and the weights and the log are the same."""
    plain = lab(folder="plain", steps=8)
    expected = plain.pretrain(ROTATION)
    assert len(steps_taken) == 8
    halved = lab(folder="rungs", steps=8, rungs=(0.25, 0.5))
    parts = [halved.study.single("rotation", share) for share in halved.study.rungs]
    steps_taken.clear()
    halved.asked(halved.evidence.evaluated(parts, tested=False), lambda: None)
    assert steps_taken.count("rotation") == 4
    assert len(halved.evidence.selection(parts[0]).runs) == 2
    found = halved.pretrain(ROTATION)
    assert steps_taken.count("rotation") == 8
    jax.tree.map(
        np.testing.assert_array_equal, *(each.variables(ROTATION) for each in (plain, halved))
    )
    logs = [
        {r.key[1:]: r.values["loss"] for r in MetricsLog(s.folder).read() if "loss" in r.values}
        for s in (expected, found)
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 8
    records = MetricsLog(found.folder).read()
    assert {(r.stage, r.label) for r in records} == {(found.name, "rotation")}
    costs = [halved.evidence.cost(network) for network in (*parts, ROTATION)]
    assert [cost / costs[-1] for cost in costs] == pytest.approx([0.25, 0.5, 1.0])


@pytest.mark.slow
def test_a_search_from_rung_to_rung_reads_what_is_finished(lab, steps_taken):
    tasks = ("src", "rotation", "simclr")
    settings = SearchSettings(as_printed=True, **AS_PRINTED | {"rungs": (0.5,)})

    def run():
        return lab(rungs=(0.5,), seeds=1, tasks=tasks).search(settings)

    found = run()
    (rung,) = found.rungs
    assert set(rung.values) == {*tasks} and set(found.singles) == {*rung.kept}
    assert len(rung.kept) == 2
    steps_taken.clear()
    assert run() == found and not steps_taken
