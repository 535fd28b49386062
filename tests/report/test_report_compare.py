"""Several runs on one page: what is joined, what stands beside what, and what is refused."""

import copy
import json

import pytest
from assl_jax.report.__main__ import main

from assl_jax.report import compare, runs


def entry(percents, **more):
    return {"accuracy": percents / 100, "std": 0.01, "runs": [], **more}


def results(start="simclr", **changes):
    """A search that ended with SimCLR + Rotation, or began with Rotation."""
    other = {"simclr": "rotation", "rotation": "simclr"}[start]
    return {
        "experiment": "mtassl",
        "data": "stl10",
        "seed": 0,
        "select_on": "cv",
        "labels": 1000,
        "scratch": entry(60),
        "singles": {"rotation": entry(70), "simclr": entry(72)},
        "iterations": [
            {
                "pool": [start],
                "candidates": [{"task": other, "similarity": 0.1, **entry(75)}],
                "chosen": other,
                "accepted": True,
            }
        ],
        "best": {"pool": [start, other], **entry(75)},
    } | changes


CONFIG = {"backbone": {"name": "resnet18"}, "seed": 0, "data": {"name": "stl10"}}


@pytest.fixture
def write(tmp_path):
    def written(name, found, config=CONFIG, environment=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        texts = {"results": found, "config": config, "environment": environment}
        for file, text in texts.items():
            if text is not None:
                (folder / f"{file}.json").write_text(json.dumps(text))
        return folder

    return written


def text(row):
    return [cell.text for cell in row.cells]


def seeds(write, accuracies, name="run"):
    folders = []
    for seed, value in enumerate(accuracies):
        found = results(seed=seed, scratch=entry(value))
        folders.append(write(f"{name}{seed}", found, CONFIG | {"seed": seed}))
    return folders


def test_runs_that_differ_in_their_seed_alone_are_joined(write):
    folders = seeds(write, [60, 62, 67])
    other = write("wide", results(seed=1), CONFIG | {"seed": 1, "backbone": {"name": "resnet34"}})
    columns = runs.columns_of(runs.read_runs([*folders, other]))
    assert [(c.name, len(c.runs)) for c in columns] == [("run0 … run2 (3 seeds)", 3), ("wide", 1)]
    table = compare.accuracy_table(columns)
    # The mean of 60, 62 and 67, and their standard deviation: sqrt((9 + 1 + 16) / 2).
    assert text(table.rows[0])[:3] == ["From scratch", "63.00 ± 3.61", "60.00 ± 1.00"]
    assert text(table.rows[1])[1] == "70.00"  # the same with every seed
    assert "seeds" in table.caption


def test_what_only_some_seeds_tested_says_so(write):
    folders = seeds(write, [60, 62, 67])
    found = results(seed=2, iterations=[], best={"pool": ["simclr"], **entry(72)})
    (folders[2] / "results.json").write_text(json.dumps(found))
    table = compare.accuracy_table(runs.columns_of(runs.read_runs(folders)))
    assert text(table.rows[-1])[:2] == ["SimCLR + Rotation", "75.00 (2 of 3)"]


def test_not_joined(write):
    same = [write("a", results()), write("b", results())]  # the same seed twice
    bare = [write(n, results(seed=i), config=None) for i, n in enumerate("cd")]  # no settings
    columns = runs.columns_of(runs.read_runs([*same, *bare]))
    assert [c.name for c in columns] == ["a", "b", "c", "d"]


def test_pools_meet_in_any_order_beside_the_papers(write):
    folders = [
        write("a", results()),
        write("b", results("rotation"), CONFIG | {"backbone": {"name": "vgg16"}}),
    ]
    table = compare.accuracy_table(runs.columns_of(runs.read_runs(folders)))
    assert table.columns == (
        *("Pretraining", "a", "b", "Paper (STL-10, ResNet-18)", "Paper (STL-10, VGG)"),
    )
    assert [text(row) for row in table.rows] == [
        ["From scratch", "60.00 ± 1.00", "60.00 ± 1.00", "63.19", "63.90"],
        ["Rotation", "70.00 ± 1.00", "70.00 ± 1.00", "70.07", "69.33"],
        ["SimCLR", "72.00 ± 1.00", "72.00 ± 1.00", "73.05", "70.31"],
        ["SimCLR + Rotation", "75.00 ± 1.00", "75.00 ± 1.00", "78.21", "–"],
    ]
    assert "other data" in table.caption
    assert [row.cells[1].strong for row in table.rows] == [False, False, False, True]


def test_the_paper_stays_away_from_tasks_that_it_does_not_have(write):
    found = results(singles={"a task of ours": entry(70)}, iterations=[], best=None)
    table = compare.accuracy_table(runs.columns_of(runs.read_runs([write("a", found)])))
    assert table.columns == ("Pretraining", "a") and "other data" not in table.caption


def test_every_backbone_of_table_4_is_a_column(write, table4_results, pairs_results):
    folders = [write("pairs", pairs_results), write("table4", table4_results)]
    columns = runs.columns_of(runs.read_runs(folders))
    assert [(c.name, c.backbone) for c in columns] == [
        ("pairs", "resnet18"),
        ("table4, VGG-16", "vgg16"),
        ("table4, ResNet-18", "resnet18"),
    ]
    table = compare.accuracy_table(columns)
    rows = {row.cells[0].text: text(row)[1:] for row in table.rows}
    assert rows["Jigsaw"] == [
        *("68.29 ± 0.50", "62.84 ± 0.50", "68.29 ± 0.50", "68.29", "62.84"),
    ]
    assert rows["Jigsaw, Self-ASSL"] == ["–", "63.82 ± 0.30", "70.80 ± 0.30", "70.80", "63.82"]
    assert rows["Rotation + SRC"] == ["76.70 ± 0.40", "–", "–", "76.70", "–"]
    assert list(rows)[:4] == ["From scratch", "SRC", "SRC, second run", "SRC, Self-ASSL"]
    own = compare.own_tables(runs.read_runs(folders)[1])
    assert [table.columns[-1] for table in own] == ["ACC (+/-), paper (STL-10)", "Effective rank"]


def test_other_metrics_have_their_own_tables(write):
    found = results()
    found["scratch"]["metrics"] = {"auc": {"mean": 0.8, "std": 0.02, "low": 0.7, "high": 0.9}}
    columns = runs.columns_of(runs.read_runs([write("a", found)]))
    table = compare.accuracy_table(columns, "auc")
    assert [text(row) for row in table.rows] == [["From scratch", "80.00 ± 2.00"]]
    assert compare.accuracy_table(columns, "balanced_accuracy") is None
    assert "AUC" in compare.compare_page([columns[0].runs[0]])


def test_what_each_run_is(write):
    environment = {"commit": "abc123", "command": "main.py --config=<evil>"}
    config = CONFIG | {"data": {"name": "npz", "path": "/some/where/nodules.npz"}}
    folder = write("a", results(data="npz", test_images=8000), config, environment)
    found = runs.read_runs([folder])
    table = compare.runs_table(runs.columns_of(found))
    assert text(table.rows[0]) == [
        *("a", "mtassl", "npz: nodules.npz", "ResNet-18", "0", "1,000", "8,000", "abc123"),
    ]
    assert "main.py --config=&lt;evil&gt;" in compare.compare_page(found)
    assert "    main.py --config=<evil>\n" in compare.compare_markdown(found)


def test_the_command_writes_a_page_and_tables(write, capsys):
    folders = [write("deep/a/run", results()), write("deep/b/run", results("rotation"))]
    main([str(folder) for folder in folders])
    out = folders[0].parent / "compare"
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert sorted(p.name for p in out.iterdir()) == ["index.html", "tables.md"]
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "http" not in html and "<script" not in html and "data:image/svg+xml" in html
    assert str(folders[0]) in html and str(folders[1]) in html  # two folders of one name
    tables = (out / "tables.md").read_text(encoding="utf-8")
    assert tables.startswith("# 2 runs compared") and "MT-ASSL search" in tables
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    main([*map(str, folders), f"--out={folders[0] / 'here'}"])
    assert {p.name: p.read_bytes() for p in (folders[0] / "here").iterdir()} == before


def test_results_without_anything_are_tolerated(write):
    folders = [write("a", {}, config=None), write("b", {"best": None, "singles": None})]
    found = runs.read_runs(folders)
    html, tables = compare.compare_page(found), compare.compare_markdown(found)
    assert html.count("No accuracy was measured") == 2 and "None" not in tables
    assert compare.compare_chart(runs.columns_of(found)) == ""


def test_mistakes_are_one_line(write, tmp_path, capsys):
    good = write("good", results())
    broken, listed = write("broken", results()), write("listed", [1])
    (broken / "results.json").write_text('{"scratch": ')
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for arguments, words in [
        ([tmp_path / "nowhere"], "is no folder"),
        ([good, tmp_path / "empty"], "holds no finished run"),
        ([good, broken], "broken/results.json cannot be read"),
        ([listed], "holds no JSON object"),
        ([good, tmp_path / "." / "good"], "is named twice"),
        ([good, f"--out={tmp_path / 'file'}"], "cannot be written"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert stopped.value.code == 2 and captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert words in captured.err
    assert not (tmp_path / "compare").exists()


def test_the_chart_is_deterministic_and_changes_with_the_runs(write):
    found = runs.read_runs([write("a", results()), write("b", results(scratch=entry(50)))])
    charts = [compare.compare_chart(runs.columns_of(some)) for some in (found, found, found[:1])]
    assert charts[0] == charts[1] != charts[2]
    assert "<!-- b -->" in charts[0] and "<!-- b -->" not in charts[2]


def test_runs_are_not_changed(write, table4_results):
    found = runs.read_runs([write("a", table4_results)])
    before = copy.deepcopy(found)
    compare.compare_page(found)
    assert found == before
