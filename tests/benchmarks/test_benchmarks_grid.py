"""The grid: which networks a cell trains, what is drawn, and how differences are summarised."""

import json
import sys

import numpy as np
import pytest
from small_studies import make_lab

from assl_jax.data import Dataset
from assl_jax.data.dataset import intensity_of
from assl_jax.strategies.pretraining import cost_of
from benchmarks import grid

TASKS = ("src", "rotation", "jigsaw")


@pytest.fixture
def planned(tmp_path):
    """`planned(accuracies)`: the study, and the rows of its plan by name.

    `accuracies` answers some names; the other networks get 0.3.
    """
    study = make_lab(tmp_path, steps=400, budget="compute", mixing="distil", tasks=TASKS).study

    def rows(accuracies):
        plan, found, score = grid.plan(study), {}, None
        while True:
            try:
                row = plan.send(score)
            except StopIteration:
                return study, found
            assert found.setdefault(row.name, row) == row  # a name is one network
            score = accuracies.get(row.name, 0.3)

    return rows


@pytest.mark.parametrize(
    ("scores", "saturated"),
    [
        ({1: 0.4, 2: 0.404}, 1),  # 0.4 points by the first doubling
        ({1: 0.4, 2: 0.41, 4: 0.414}, 2),
        ({1: 0.4, 2: 0.41, 4: 0.42, 8: 0.43}, 8),
    ],
)
def test_the_best_task_is_doubled_until_it_has_saturated(planned, scores, saturated):
    given = {f"single {units}": score for units, score in scores.items()} | {"rotation": 0.4}
    _, rows = planned(given)
    assert rows["saturated"].network == rows[f"single {saturated}"].network
    assert rows["single 1"].network == rows["rotation"].network
    needed = {1, 2, 3, 4, *scores, saturated + 1, saturated + 2, saturated + 3}
    assert {name for name in rows if name.startswith("single ")} == {f"single {n}" for n in needed}


def test_the_best_task_leads_every_aggregate_and_the_second_joins_first(planned):
    _, rows = planned({"rotation": 0.5, "jigsaw": 0.4})
    assert rows["pool 2"].network.members == ("rotation", "jigsaw")
    assert {*rows["pool 3"].network.members} == {*TASKS}
    assert rows["saturated pool 3"].network.start == rows["saturated"].network
    assert [each.tasks for each in rows["beside 3"].network.teachers] == [
        ("rotation",),
        ("jigsaw",),
        ("src",),
    ]
    first, second = rows["beside seeds"].network.teachers
    assert first != second and first == second.repeated(0)
    assert rows["student 2"].network.teachers == rows["beside 2"].network.teachers


@pytest.mark.parametrize("doubled", [{}, {"single 2": 0.4, "single 4": 0.5}])
def test_what_is_compared_has_cost_the_same(planned, doubled):
    study, rows = planned(doubled)
    unit = cost_of(study, rows["single 1"].network)
    units = {name: cost_of(study, row.network) / unit for name, row in rows.items()}
    for name, row in rows.items():
        if row.all_in and row.units == 1:
            assert units[name] == pytest.approx(units[row.all_in], abs=0.1), name
        if "pool" in name:  # one unit after the network that both go on from
            start = row.network.start
            assert start == rows[row.marginal].network.start
            assert units[row.marginal] - cost_of(study, start) / unit == pytest.approx(1, abs=0.1)
    assert units["pool 3"] == pytest.approx(4, abs=0.1)
    assert rows["anew 4"].units == 4 and rows["anew 4"].all_in == "single 4"


def photographs():
    """100 unlabeled images, 40 labelled ones and 20 to test, of two classes; a value for each."""
    values = np.arange(160, dtype=np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (160, 4, 4, 1)).copy()
    labels = np.where(values < 100, -1, values % 2).astype(np.int32)
    return Dataset(
        name="photographs",
        images=images,
        labels=labels,
        class_names=("a", "b"),
        unlabeled=np.arange(100),
        labelled_sets=(np.arange(100, 140),),
        test=np.arange(140, 160),
        intensity=intensity_of(images, low=0.0, high=255.0),
    )


def test_a_cell_draws_separate_images_with_its_seed(monkeypatch):
    monkeypatch.setitem(grid.CELLS, "natural32:30", 1)
    size, whole = grid.Size({4: 3, 10: 2}, 6), photographs()
    cells = [grid.Cell("natural32:30", seed, size).drawn(whole) for seed in (0, 0, 1)]
    for found in cells:
        assert [len(s) for s in found.labelled_sets] == [4, 4, 4, 10, 10]
        assert all((found.labels[s] == 0).mean() == 0.5 for s in (*found.labelled_sets, found.test))
        values = found.images[:, 0, 0, 0]
        assert len(np.unique(values)) == len(values) == 30 + 32 + 6
        assert values[found.unlabeled].max() < 100 <= values[found.labelled_sets[0]].min()
        assert values[found.test].min() >= 140
        np.testing.assert_array_equal(found.labels[found.test], values[found.test].astype(int) % 2)
        mean = values[found.unlabeled].mean() / 255  # of these images alone
        assert found.intensity.mean[0] == pytest.approx(mean, abs=1e-5)
    first, same, other = (found.images[:, 0, 0, 0] for found in cells)
    assert (first == same).all() and (first != other).any()


def network(accuracy, marginal="", all_in=""):
    found = {"100": [accuracy - 0.01, accuracy + 0.01]}
    return {"accuracy": found, "marginal": marginal, "all_in": all_in, "flops": 2e12}


def test_differences_are_paired_by_seed():
    seeds = [(0.50, 0.52), (0.40, 0.44), (0.45, 0.48)]
    cells = [
        {
            "cell": "natural32:300",
            "networks": {"single 2": network(a), "pool 2": network(b, "single 2", "single 3")},
        }
        for a, b in seeds
    ]
    cells[0]["networks"]["single 3"] = network(0.55)  # the other seeds have not come so far
    ((title, rows),) = grid.summary(cells)
    assert title == "natural32:300, 100 labels"
    single, pool, _ = rows
    assert (single["seeds"], single["accuracy (%)"], single["TFLOP"]) == (3, "45.0 ± 5.0", 2.0)
    # 2, 4 and 3 points: the error of the mean is 1 / sqrt(3), and t of 2 degrees 4.3027.
    assert pool["over equal marginal compute"] == "+3.00 [+0.52, +5.48]"
    assert pool["over equal compute in all"] == "-3.00"
    assert single["over equal marginal compute"] is None


def run(monkeypatch, out, *options):
    monkeypatch.setattr(sys, "argv", ["grid", "--smoke", f"--out={out}", *options])
    grid.main()


def test_mistakes_are_one_clear_line(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match="error: --cells='phantoms:7' is unknown"):
        run(monkeypatch, tmp_path, "--cells=phantoms:7", "--seeds=0")
    (tmp_path / "phantoms-200-seed0.json").write_text(json.dumps({"digest": "of other settings"}))
    with pytest.raises(SystemExit, match="has other settings; use another --out"):
        run(monkeypatch, tmp_path, "--cells=phantoms:200", "--seeds=0")


@pytest.mark.slow
def test_a_cell_goes_on_where_it_was_stopped(monkeypatch, tmp_path, capsys):
    options = ("--cells=phantoms:200", "--seeds=0")
    file = tmp_path / "phantoms-200-seed0.json"
    run(monkeypatch, tmp_path, *options, "--seconds=0")
    assert not file.exists() and "the time is over" in capsys.readouterr().out
    real, taken = grid.judged, []

    def judged(study, row, *arguments):
        if len(taken) == 2:
            raise grid.OutOfTime
        taken.append(row.name)
        return real(study, row, *arguments)

    monkeypatch.setattr(grid, "judged", judged)
    run(monkeypatch, tmp_path, *options)
    assert [*json.loads(file.read_text())["networks"]] == taken == ["scratch", "rotation"]
    taken.clear()
    run(monkeypatch, tmp_path, *options)
    assert "scratch" not in taken and "| rotation | 1 |" in capsys.readouterr().out
