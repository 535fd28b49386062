"""Figures: well-formed and deterministic, and the arithmetic behind them."""

import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from networks import labels_of, network_of
from reported import (
    PAIRS,
    TABLE4,
    evaluation,
    extension,
    log,
    results,
    similarity_of,
    stage,
    text,
    words,
)

from assl_jax.records import HELD_OUT, Best, Evaluation, Iteration
from assl_jax.report import curves, overview, pairs_chart, record, self_assl, similarity, stages
from assl_jax.report import metrics as metrics_of
from assl_jax.report.names import Label
from assl_jax.tasks import TASKS, describe

NAN = float("nan")
DRAWN = re.compile(r"\b(?:fill|stroke): ([^;\"]+)")
TITLE = "$\\bad{"  # Matplotlib would read it as mathematics


def curves_of(records, *, kind="pretrain", **quantity):
    return curves.training_curves(records, labels_of(records), kind=kind, **quantity)


def losses(label, values, **place):
    """The log of losses."""
    return log(label, [{"loss": v} for v in values], **place)


# Two singles; of two candidates one was trained, and accepted.
JOINED = evaluation(65, 1)
STEP = Iteration(
    pool=("src",),
    candidates=(extension(("src",), "a&b", 0.1, JOINED), extension(("src",), "new", 0.3, None)),
    chosen="a&b",
    accepted=True,
    criterion="lcka",
)
SEARCH = results(
    scratch=evaluation(50, 2, runs=[48, 52]),
    singles={"src": evaluation(60, 1), "a&b": evaluation(55, NAN)},
    iterations=(STEP,),
    best=Best(network=network_of("src+a&b"), evaluation=JOINED),
)
EVERY_TASK = SEARCH.replace(
    scratch=SEARCH.scratch.replace(confusion=((3.0, 1.0), (0.0, 4.0))),
    singles={name: SEARCH.scratch for name in TASKS},
)
METRICS = [
    *losses("src", np.linspace(3, 1, 40)),
    *losses("src+inpaint", np.linspace(3, 1, 40), task="src"),
    *losses("src+inpaint", np.linspace(0.05, 0.01, 40), task="inpaint"),
    *losses("src", [1.0], kind="finetune", task="target"),
]
TIMED = [
    stage("src", 10.0, images_per_s=100.0),
    stage("src", 30.0, images_per_s=200.0),
    stage("src", 1.0, kind="features"),
]
SIMILAR = similarity_of(("src", TITLE, "<b>"), ((1.0, 0.2, 0.1), (0.2, 1.0, NAN), (0.1, NAN, 1.0)))
CHARTS = {
    "similarity": lambda: similarity.similarity_heatmap(SIMILAR),
    "accuracy": lambda: overview.accuracy_chart(SEARCH),
    "every task": lambda: overview.accuracy_chart(EVERY_TASK),
    "pretrain": lambda: curves_of(METRICS),
    "finetune": lambda: curves_of(METRICS, kind="finetune"),
    "time": lambda: stages.time_chart(TIMED, labels_of(TIMED)),
    "confusion": lambda: metrics_of.confusion_chart(EVERY_TASK.replace(best=None)),
    "pairs": lambda: pairs_chart.pairs_chart(PAIRS),
    "table4": lambda: self_assl.self_assl_chart(TABLE4),
}


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_charts_are_the_same_well_formed_svg_each_time(draw):
    before = dict(matplotlib.rcParams)
    svg = draw()
    assert draw() == svg
    assert dict(matplotlib.rcParams) == before
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "nan" not in svg.lower()
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.endswith("href") or value.startswith(("#", "data:"))
    # No white part on a dark page, and no background.
    dark = dict(re.findall(r"--c([0-9a-f]{6}): (#[0-9a-f]{6});", svg))
    drawn = {each.strip() for each in DRAWN.findall(svg)} - {"none"}
    assert drawn
    for each in drawn:
        found = re.fullmatch(r"var\(--c([0-9a-f]{6}), #\1\)|(#[0-9a-f]{6})", each)
        assert found, each
        shown = dark[found[1]] if found[1] else found[2]
        assert shown != "#ffffff" and (not found[1] or shown != f"#{found[1]}")
    background = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', svg)
    assert background[1] == "fill: none"


def test_names_are_not_mathematics():
    assert words(CHARTS["similarity"]()).count(TITLE) == 2


def test_a_record_of_memory_is_no_curve():
    memory = log("src", [{"peak_host_gib": 1.5}], task="memory")
    for quantity in ("loss", "accuracy"):
        plain = curves_of(METRICS[:40], quantity=quantity)
        more = [*METRICS[:40], *memory]
        assert curves_of(more, quantity=quantity) == plain
    assert curves_of(memory) == ""


def test_nothing_to_draw():
    unknown = Best(network=network_of("src"), evaluation=Evaluation(metrics={}, confusion=()))
    assert overview.accuracy_chart(results()) == ""
    assert overview.accuracy_chart(results(best=unknown)) == ""
    assert curves_of(METRICS, kind="probe") == ""
    assert curves_of(losses("src", [NAN])) == ""
    assert stages.time_chart([], {}) == ""


def test_one_task_has_one_similarity():
    assert similarity.similarity_heatmap(similarity_of(("src",), ((1.0,),)))


def test_every_trained_pool_has_a_row_and_its_place_on_the_path():
    rows = overview.trained_pools(SEARCH)
    assert [(row.label.pool, row.verdict) for row in rows] == [
        ((), ""),
        (("src",), "accepted"),
        (("a&b",), ""),
        (("src", "a&b"), "accepted"),
    ]


def test_a_training_that_went_on_has_one_panel():
    """The panel of its part at a rung leaves; that of a task that was left out stays."""
    values = [{"loss": 1.0 / (1 + i)} for i in range(8)]
    whole = log("rotation", values)
    parts = [
        *log("rotation.part0.25", values[:2], task="rotation"),
        *log("rotation.part0.5", values[:4], task="rotation"),
    ]
    alone = curves_of(whole)
    assert curves_of([*parts, *whole]) == alone
    left_out = log("src.part0.25", values[:2], task="src")
    both = curves_of([*parts, *left_out, *whole])
    assert "SRC, 25 % of its" in both and "Rotation, 50 %" not in both


def test_a_resumed_runs_last_record_wins_and_tasks_keep_theirs():
    first = losses("src", [5.0, 4.0, 3.0], stage="s")
    resumed = losses("src", [9.0, 9.0, 2.0], stage="s")[2:]
    other = losses("src", [7.0, 7.0, 7.0], stage="s", task="mcpc")[2:]
    elsewhere = losses("src", [1.0], stage="t")
    fold = losses("src", [6.0], stage="s", run="cv 0 1")
    kept = record.latest([*first, *other, *resumed, *elsewhere, *fold])
    assert [(r.stage, r.step, r.task, r.values["loss"]) for r in kept] == [
        ("s", 0, "src", 5.0),
        ("t", 0, "src", 1.0),
        ("s", 0, "src", 6.0),
        ("s", 1, "src", 4.0),
        ("s", 2, "src", 2.0),
        ("s", 2, "mcpc", 7.0),
    ]
    straight = losses("src", [5.0, 4.0, 2.0], stage="s")
    drawn = curves_of([*first, *resumed])
    assert drawn == curves_of(straight)
    assert drawn != curves_of(first)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 9])
def test_moving_mean_against_a_loop(window):
    values = np.array([4.0, 8.0, 0.0, 2.0, 6.0])
    before = window - 1 - (window - 1) // 2
    slow = [
        np.mean([values[j] for j in range(i - before, i - before + window) if 0 <= j < 5])
        for i in range(5)
    ]
    np.testing.assert_allclose(curves.moving_mean(values, window), slow)


def test_thinning_keeps_the_ends():
    x = np.arange(1001.0)
    thin, _ = curves.thinned(x, x)
    assert len(thin) == 300 and thin[0] == 0 and thin[-1] == 1000
    np.testing.assert_array_equal(curves.thinned(x[:7], x[:7])[0], x[:7])


def test_images_per_second_are_weighted_by_time():
    assert stages.images_per_second(TIMED[:2]) == "175 images/s"  # (10 * 100 + 30 * 200) / 40
    assert stages.images_per_second(TIMED[2:]) == ""


def test_what_is_measured_on_held_out_images_has_the_colour_of_the_pool():
    watched = log("src", [{"effective_rank": 3.0 + i} for i in range(4)], task=HELD_OUT, every=5)
    svg = curves_of([*METRICS[:40], *watched], kind="pretrain", quantity="effective_rank")
    assert describe("src").colour.lower() in svg
    assert describe(HELD_OUT).colour.lower() not in svg
    assert "effective rank" in words(svg)
    # It is no task of the legend.
    assert HELD_OUT not in words(svg)


def test_a_leg_of_the_path_starts_at_the_pool_that_was_extended():
    stopped = STEP.replace(pool=("src", "a&b"), chosen="new", accepted=False)
    src, joined = Label.trained("src"), Label.trained("src", "a&b")
    tried = Label.trained("src", "a&b", "new")
    more = SEARCH.replace(iterations=(STEP, stopped))
    assert overview.legs(more) == [(src, joined), (joined, tried)]
    assert overview.legs(results()) == []
    drawn = overview.accuracy_chart.__wrapped__(SEARCH).axes[0]
    # The second row reaches 60 %, the fourth 65 %; the third candidate was not trained.
    legs = [line.get_xydata().tolist() for line in drawn.lines if line.get_marker() == "None"]
    assert [[60, 1], [65, 3]] in legs


def test_stages_with_their_memory():
    found = [
        stage(seconds=1234.56, images_per_s=99.6, peak_host_bytes=3 * 2**29),
        stage("vgg16/src+mcpc", seconds=2.0),
    ]
    table = stages.stages_table(found, labels_of(found))
    assert table.columns == (
        *("Network", "Stage", "Time (s)", "Images/s", "Peak host memory (GiB)"),
    )
    assert [text(row) for row in table.rows] == [
        ["SimCLR", "pretraining", "1,234.6", "100", "1.50"],
        ["VGG-16: SRC + MCPC", "pretraining", "2.0", "–", "–"],
    ]
    found[1] = found[1].replace(peak_device_bytes=2**28, peak_host_bytes=2**30)
    table = stages.stages_table(found, labels_of(found))
    assert table.columns[-1] == "Peak device memory (GiB)"
    assert [text(row)[-2:] for row in table.rows] == [["1.50", "–"], ["1.00", "0.25"]]
    assert stages.stages_table([], {}) is None
