"""Several runs on one page: which runs share a column, their tables, and what is refused."""

import json

import pytest
from finished_runs import network
from networks import network_of
from reported import PAIRS, TABLE4, evaluation, extension, results, text
from searched import searched

from assl_jax import records
from assl_jax.__main__ import main
from assl_jax.records import Best, Estimate, Iteration
from assl_jax.report import compare, runs
from assl_jax.report.html import to_html
from assl_jax.report.markdown import to_markdown

EVIL = '<b>&"'
CONFIG = {"backbone": {"name": "resnet18"}, "seed": 0, "data": {"name": "stl10"}}
VGG = CONFIG | {"backbone": {"name": "vgg16"}}


def search(start="simclr", backbone="resnet18", **changes):
    """It ended with SimCLR + Rotation, or began with Rotation."""
    other = {"simclr": "rotation", "rotation": "simclr"}[start]
    pool = evaluation(75, 1)
    joined = extension((start,), other, 0.1, pool)
    grown = {"pool": (start,), "chosen": other, "accepted": True, "criterion": "lcka"}
    step = Iteration(candidates=(joined,), **grown)
    found = {
        "scratch": evaluation(60, 1),
        "singles": {"rotation": evaluation(70, 1), "simclr": evaluation(72, 1)},
        "iterations": (step,),
        "best": Best(network=network_of(f"{start}+{other}"), evaluation=pool),
        "networks": [network("scratch", backbone=backbone)],
    }
    return results(**found | changes)


@pytest.fixture
def write(tmp_path):
    def written(name, found, config=CONFIG, environment=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        records.write(folder / records.RESULTS, found)
        (folder / records.CONFIG).write_text(json.dumps(config))
        (folder / records.ENVIRONMENT).write_text(json.dumps(environment or {}))
        return folder

    return written


@pytest.fixture
def seeds(write):
    """Folders of three runs that differ in their seed; from scratch they reach 60, 62 and 67 %."""
    return [
        write(
            f"run{seed}",
            search(seed=seed, scratch=evaluation(value, 1)),
            CONFIG | {"seed": seed},
        )
        for seed, value in enumerate([60, 62, 67])
    ]


def groups(*folders):
    return runs.groups_of(runs.read_runs(folders))


def test_runs_that_differ_in_their_seed_alone_are_joined(write, seeds):
    config = CONFIG | {"seed": 1, "backbone": {"name": "resnet34"}}
    other = write("wide", search(seed=1, backbone="resnet34"), config)
    found = groups(*seeds, other)
    assert [(c.title, len(c.runs), c.backbone) for c in found] == [
        ("run0 … run2 (3 seeds)", 3, "resnet18"),
        ("wide", 1, "resnet34"),
    ]
    table = compare.accuracy_table(found)
    # The mean of 60, 62 and 67, and their standard deviation: sqrt((9 + 1 + 16) / 2).
    assert text(table.rows[0])[:3] == ["From scratch", "63.00 ± 3.61", "60.00 ± 1.00"]
    assert text(table.rows[1])[1] == "70.00 ± 0.00"  # the same with every seed
    assert "seeds" in table.caption


def test_what_only_some_seeds_tested_says_so(seeds):
    best = Best(network=network_of("simclr"), evaluation=evaluation(72, 1))
    records.write(seeds[2] / records.RESULTS, search(seed=2, iterations=(), best=best))
    table = compare.accuracy_table(groups(*seeds))
    assert text(table.rows[-1])[:2] == ["SimCLR + Rotation", "75.00 ± 0.00 (2 of 3)"]


def test_two_runs_with_the_same_seed_are_not_joined(write):
    found = groups(write("a", search()), write("b", search()))
    assert [c.title for c in found] == ["a", "b"]


def test_pools_meet_in_any_order_next_to_the_papers_values(write):
    folders = write("a", search()), write("b", search("rotation", backbone="vgg16"), VGG)
    table = compare.accuracy_table(groups(*folders))
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
    found = search(singles={"a task of ours": evaluation(70)}, iterations=(), best=None)
    table = compare.accuracy_table(groups(write("a", found)))
    assert table.columns == ("Pretraining", "a") and "other data" not in table.caption


def test_what_rounds_have_trained_follows_the_networks_of_the_same_tasks(write):
    """Runs share the row of a history; the same tasks at once are another network."""
    rounds = CONFIG | {"search": {"next": "lcka"}}
    more = searched(seed=1, scratch=evaluation(62, 1))
    folders = write("a", searched(), rounds), write("b", more, rounds | {"seed": 1})
    table = compare.accuracy_table(groups(*folders, write("pools", search())))
    assert table.columns[1:] == ("a … b (2 seeds)", "pools", "Paper (STL-10, ResNet-18)")
    student = "Student of (SimCLR, then Rotation) and (SimCLR, then Rotation, continued)"
    assert [text(row) for row in table.rows] == [
        ["From scratch", "61.00 ± 1.41", "60.00 ± 1.00", "63.19"],
        ["SimCLR", "72.00 ± 0.00", "72.00 ± 1.00", "73.05"],
        ["SimCLR, continued", "73.00 ± 0.00", "–", "–"],
        ["Rotation", "70.00 ± 0.00", "70.00 ± 1.00", "70.07"],
        ["Rotation, continued", "70.50 ± 0.00", "–", "–"],
        ["SRC", "66.00 ± 0.00", "–", "68.36"],
        ["SimCLR + Rotation", "–", "75.00 ± 1.00", "78.21"],
        ["SimCLR, then Rotation", "76.00 ± 0.00", "–", "–"],
        ["SimCLR, then Rotation, continued", "75.50 ± 0.00", "–", "–"],
        [student, "77.00 ± 0.00", "–", "–"],
        ["SimCLR, then Rotation, then SRC", "74.50 ± 0.00", "–", "–"],
    ]
    page = to_html(compare.comparison(runs.read_runs(folders)))
    assert page.count("The best could also be") == page.count("Probability of being the best") == 2


def test_every_backbone_of_table_4_is_a_column(write):
    folders = write("pairs", PAIRS), write("table4", TABLE4)
    found = groups(*folders)
    assert [(c.title, c.backbone) for c in found] == [
        ("pairs", "resnet18"),
        ("table4, VGG-16", "vgg16"),
        ("table4, ResNet-18", "resnet18"),
    ]
    table = compare.accuracy_table(found)
    rows = {row.cells[0].text: text(row)[1:] for row in table.rows}
    assert rows["Jigsaw"] == [
        *("68.29 ± 0.50", "62.84 ± 0.50", "68.29 ± 0.50", "68.29", "62.84"),
    ]
    assert rows["Jigsaw, Self-ASSL"] == ["–", "63.82 ± 0.30", "70.80 ± 0.30", "70.80", "63.82"]
    assert rows["Rotation + SRC"] == ["76.70 ± 0.40", "–", "–", "76.70", "–"]
    assert list(rows)[:4] == ["From scratch", "SRC", "SRC, second run", "SRC, Self-ASSL"]
    whole = to_markdown(compare.comparison(runs.read_runs(folders)))
    own = whole[whole.index("## table4") :]
    heads = [line for line in own.splitlines() if line.startswith(("| Pre", "| Back"))]
    assert [head.split(" | ")[-1] for head in heads] == [
        *("Accuracy |", "ACC (+/-), paper (STL-10) |", "Effective rank |"),
    ]


def test_other_metrics_have_their_own_tables(write):
    auc, f1 = Estimate(mean=0.8, std=0.02, low=0.7, high=0.9), Estimate(mean=0.6, std=0.0)
    folder = write("a", search(scratch=evaluation(60, auc=auc, macro_f1=f1)))
    (column,) = groups(folder)
    tables = {
        name: compare.accuracy_table([column], name)
        for name in ("auc", "macro_f1", "balanced_accuracy")
    }
    assert [text(row) for row in tables["auc"].rows] == [["From scratch", "80.00 ± 2.00"]]
    assert [text(row) for row in tables["macro_f1"].rows] == [["From scratch", "60.00"]]
    assert tables["balanced_accuracy"] is None
    html = to_html(compare.comparison(column.runs))
    assert "<summary>AUC</summary>" in html and "<summary>Macro F1</summary>" in html
    assert "<summary>Balanced accuracy</summary>" not in html


def test_what_each_run_is(write, monkeypatch):
    monkeypatch.setattr(compare, "compare_chart", lambda _: "")
    environment = {"commit": "abc123", "command": f"main.py --config={EVIL}"}
    config = CONFIG | {"data": {"name": "npz", "path": f"/some/where/{EVIL}.npz"}}
    folder = write(f"a{EVIL}", search(data="npz", test_images=8000), config, environment)
    found = runs.read_runs([folder])
    table = compare.runs_table(runs.groups_of(found))
    assert text(table.rows[0]) == [
        *(f"a{EVIL}", "mtassl", f"npz: {EVIL}.npz", "ResNet-18", "0", "1,000"),
        *("8,000 test images", "abc123"),
    ]
    html = to_html(compare.comparison(found))
    assert "main.py --config=&lt;b&gt;&amp;&#34;" in html and "<b>" not in html
    assert f"    main.py --config={EVIL}\n" in to_markdown(compare.comparison(found))


def test_the_command_writes_a_page_and_tables(write, capsys):
    folders = write("deep/a/run", search()), write("deep/b/run", search("rotation"))
    main(["report", *map(str, folders)])
    out = folders[0].parent / "compare"
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert sorted(p.name for p in out.iterdir()) == ["index.html", "tables.md"]
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "http" not in html and html.count("<script") == 1 and "data:image/svg+xml" in html
    assert str(folders[0]) in html and str(folders[1]) in html  # two folders of one name
    tables = (out / "tables.md").read_text(encoding="utf-8")
    assert tables.startswith("# 2 runs compared") and "MT-ASSL search" in tables
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    main(["report", *map(str, folders), f"--out={folders[0] / 'here'}"])
    assert {p.name: p.read_bytes() for p in (folders[0] / "here").iterdir()} == before


def test_runs_that_found_nothing_are_tolerated(write):
    found = runs.read_runs([write("a", results()), write("b", results())])
    html, tables = to_html(compare.comparison(found)), to_markdown(compare.comparison(found))
    assert html.count("No accuracy was measured") == 2 and "None" not in tables
    assert compare.compare_chart(runs.groups_of(found)) == ""


def test_mistakes_are_one_line(write, tmp_path, capsys):
    good = write("good", search())
    broken, listed, bare = (write(name, search()) for name in ("broken", "listed", "bare"))
    (broken / records.RESULTS).write_text('{"scratch": ')
    (listed / records.RESULTS).write_text("[1]")
    (bare / records.CONFIG).unlink()
    old = write("old", search(version=records.VERSION + 1))
    unknown = write("unknown", search(metric="acuracy"))
    flat = write("flat", search(), {"seed": 0})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for arguments, words in [
        ([tmp_path / "nowhere"], "is no folder"),
        ([good, tmp_path / "empty"], "holds no finished run (no results.json)"),
        ([bare], "holds no finished run (no config.json)"),
        ([good, broken], "broken/results.json is damaged"),
        ([listed], "listed/results.json is damaged"),
        (
            [old],
            f"old/results.json has format version 3, this program reads version {records.VERSION}",
        ),
        ([unknown], "did you mean 'accuracy'"),
        ([flat], "flat/config.json is not the config of a run"),
        ([good, tmp_path / "." / "good"], "is named twice"),
        ([good, f"--out={tmp_path / 'file'}"], "is a file; name a folder"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(["report", *map(str, arguments)])
        captured = capsys.readouterr()
        assert stopped.value.code == 2 and captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert words in captured.err
    assert not (tmp_path / "compare").exists()
