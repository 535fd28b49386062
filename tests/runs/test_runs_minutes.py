"""A budget in minutes: what is recorded of it, and that it is measured once."""

import json
import re

import pytest
from whole_runs import read, small, snapshot

from assl_jax import experiment
from assl_jax.config_reading import typed
from assl_jax.errors import InputError
from assl_jax.strategies.outlook import Pace
from assl_jax.workdir import begin

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(monkeypatch):
    """`machine(flops_per_s, meanwhile)`: how fast this one seems, and what happens meanwhile.

    Gives the list of the measurements.
    """
    measured = []

    def make(flops_per_s, meanwhile=lambda: None):
        def pace(study):
            measured.append(flops_per_s)
            meanwhile()
            return Pace(flops_per_s, None, None)

        monkeypatch.setattr(experiment, "pace", pace)
        return measured

    return make


def asked(budget):
    config = small()
    config.search.budget = budget
    return typed(config)


def recorded(workdir):
    return json.loads((workdir / "config.json").read_text())["search"]["budget"]


def test_minutes_are_measured_once(small_run, machine, tmp_path, capsys):
    """The stages are those of a run with 9 singles, of which this machine does three a minute."""
    stages, expected = small_run / "stages", read(small_run / "work")
    a_minute = expected.search.budget / 3
    measured = machine(a_minute / 60)
    experiment.dry_run(asked("3 min"), tmp_path / "work", stages)
    said = capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    experiment.run(asked("3 min"), tmp_path / "work", stages)
    number = re.fullmatch(r"([\d.]+) TFLOP \(3 min\)", recorded(tmp_path / "work"))[1]
    assert f"search.budget=3 min is {number} TFLOP at this machine's pace\n" in said
    assert float(number) * 1e12 == pytest.approx(expected.search.budget, rel=0.005)
    found = read(tmp_path / "work")
    assert found.search.budget == float(number) * 1e12
    assert found.search.rounds == expected.search.rounds

    before = snapshot(tmp_path)
    assert len(measured) == 2
    machine(100 * a_minute)
    for budget in ("3 min", f"{number} TFLOP"):
        experiment.run(asked(budget), tmp_path / "work", stages)
    assert len(measured) == 2 and snapshot(tmp_path) == before
    with pytest.raises(InputError, match=r"another config \(different: search.budget\)"):
        experiment.run(asked("4 min"), tmp_path / "work", stages)
    experiment.run(asked(f"{number} TFLOP"), tmp_path / "compute", stages)
    assert read(tmp_path / "compute") == found


def test_workers_receive_compute(small_run, machine, tmp_path, monkeypatch):
    """Of two processes that begin at the same time, the second takes the budget of the first."""
    stages, workdir = small_run / "stages", tmp_path / "work"
    known = read(small_run / "work").search.budget
    first = f"{known / 1e12:.9f} TFLOP (3 min)"

    def other():
        begin(workdir, stages, {**small().to_dict(), "search": {"budget": first}})

    sent, real = [], experiment._message
    monkeypatch.setattr(experiment, "_message", lambda *given: sent.append(given) or real(*given))
    machine(known, other)  # 60 times as fast
    found = experiment.run(asked("3 min"), workdir, stages)
    assert sent[0][0]["search"]["budget"] == recorded(workdir) == first
    assert found.search.budget == pytest.approx(known, rel=1e-3)


def test_a_budget_that_is_too_small_writes_nothing(small_run, machine, tmp_path):
    """Three singles take a minute; two tasks and training from scratch are hardly less."""
    machine(read(small_run / "work").search.budget / 3 / 60)
    for budget, says in (
        ("2 singles", "singles"),
        ("0 min", "must be"),
        ("0.5 min", r"3 singles, 1 min\)"),
    ):
        with pytest.raises(InputError, match=says):
            experiment.run(asked(budget), tmp_path / "work", small_run / "stages")
    assert not list(tmp_path.iterdir())


def test_who_has_no_use_for_minutes_measures_nothing(small_run, machine, tmp_path):
    def never():
        raise AssertionError

    machine(1.0, never)
    config = small()
    config.search.budget, config.search.as_printed = "3 min", True
    whole, _ = experiment._prepared(
        typed(config), tmp_path / "work", small_run / "stages", None, False
    )
    assert whole.asked.search.budget == "3 min"
