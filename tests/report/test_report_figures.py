"""Figures: well-formed and deterministic, and the arithmetic behind them."""

import base64
import io
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from PIL import Image

from assl_jax.report import curves, figures, record

NAN = float("nan")
SIMILARITY = {
    "tasks": ["src", "$\\bad{", "<b>"],
    "matrix": [[1.0, 0.2, 0.1], [0.2, 1.0, None], [0.1, NAN, 1.0]],
}

RESULTS = {
    "scratch": {"accuracy": 0.5, "std": 0.02, "runs": [0.48, 0.52]},
    "singles": {"src": {"accuracy": 0.6, "std": 0.01}, "a&b": {"accuracy": 0.55, "std": None}},
    "iterations": [
        {
            "pool": ["src"],
            "candidates": [
                {"task": "a&b", "similarity": 0.1, "accuracy": 0.65, "std": 0.01},
                {"task": "new", "similarity": 0.3, "accuracy": None},
            ],
            "chosen": "a&b",
            "accepted": True,
        }
    ],
    "best": {"pool": ["src", "a&b"], "accuracy": 0.65},
}


def log(stage, task, losses, *, kind="pretrain", label=None):
    return [
        {
            "stage": stage,
            "kind": kind,
            "label": label or task,
            "step": i,
            "task": task,
            "loss": loss,
        }
        for i, loss in enumerate(losses)
    ]


METRICS = [
    *log("one", "src", np.linspace(3, 1, 40)),
    *log("two", "src", np.linspace(3, 1, 40), label="src+inpaint"),
    *log("two", "inpaint", np.linspace(0.05, 0.01, 40), label="src+inpaint"),
    *log("three", "target", [1.0], kind="finetune", label="src"),
]
STAGES = [
    {"stage": "one", "kind": "pretrain", "label": "src", "seconds": 10.0, "images_per_s": 100.0},
    {"stage": "1b", "kind": "pretrain", "label": "src", "seconds": 30.0, "images_per_s": 200.0},
    {"stage": "x", "kind": "features", "label": "src", "seconds": 1.0, "images_per_s": None},
]
CHARTS = {
    "similarity": lambda: figures.similarity_heatmap(SIMILARITY),
    "accuracy": lambda: figures.accuracy_chart(RESULTS),
    "pretrain": lambda: curves.training_curves(METRICS, kind="pretrain"),
    "finetune": lambda: curves.training_curves(METRICS, kind="finetune"),
    "time": lambda: figures.time_chart(STAGES),
}


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_charts_are_the_same_well_formed_svg_each_time(chart):
    before = dict(matplotlib.rcParams)
    svg = chart()
    assert chart() == svg
    assert dict(matplotlib.rcParams) == before
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "nan" not in svg.lower()
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.endswith("href") or value.startswith(("#", "data:"))


def test_a_record_of_memory_is_no_curve():
    place = {"stage": "one", "kind": "pretrain", "label": "src", "step": 39, "task": "memory"}
    more = [*METRICS, {**place, "peak_host_gib": 1.5, "peak_device_gib": None}]
    for quantity in ("loss", "accuracy"):
        plain = curves.training_curves(METRICS, kind="pretrain", quantity=quantity)
        assert curves.training_curves(more, kind="pretrain", quantity=quantity) == plain
    assert curves.training_curves(more[-1:], kind="pretrain") == ""


def test_nothing_to_draw():
    assert figures.similarity_heatmap({}) == ""
    assert figures.accuracy_chart({"best": {"pool": ["src"], "accuracy": None}}) == ""
    assert curves.training_curves(METRICS, kind="probe") == ""
    assert curves.training_curves(log("s", "src", [NAN]), kind="pretrain") == ""
    assert figures.time_chart([]) == ""


def test_one_task_has_one_similarity():
    assert figures.similarity_heatmap({"tasks": ["src"], "matrix": [[1.0]]})


def test_every_trained_pool_has_a_row_and_its_place_on_the_path():
    rows = figures._accuracy_rows(RESULTS)
    assert [(pool, place) for pool, _, place in rows] == [
        (("scratch",), ""),
        (("src",), "accepted"),
        (("a&b",), ""),
        (("src", "a&b"), "accepted"),
    ]


def test_a_resumed_runs_last_record_wins_and_tasks_keep_theirs():
    first = log("s", "src", [5.0, 4.0, 3.0])
    again = log("s", "src", [9.0, 9.0, 2.0])[2:]
    other = log("s", "mcpc", [7.0, 7.0, 7.0])[2:]
    elsewhere = log("t", "src", [1.0])
    fold = [{**r, "run": "cv 0 1"} for r in log("s", "src", [6.0])]
    kept = record.latest([*first, *other, *again, *elsewhere, *fold])
    assert [(r["stage"], r["step"], r["task"], r["loss"]) for r in kept] == [
        ("s", 0, "src", 5.0),
        ("t", 0, "src", 1.0),
        ("s", 0, "src", 6.0),
        ("s", 1, "src", 4.0),
        ("s", 2, "src", 2.0),
        ("s", 2, "mcpc", 7.0),
    ]
    straight = log("s", "src", [5.0, 4.0, 2.0])
    drawn = curves.training_curves([*first, *again], kind="pretrain")
    assert drawn == curves.training_curves(straight, kind="pretrain")
    assert drawn != curves.training_curves(first, kind="pretrain")


def test_runs_of_one_stage_are_curves_of_their_own():
    runs = [
        log("s", "src", [3.0, 2.0], kind="finetune"),
        log("s", "src", [5.0, 1.0], kind="finetune"),
    ]
    both = [{**r, "run": name} for name, run in zip("ab", runs, strict=True) for r in run]
    lines = [curves.training_curves(m, kind="finetune").count("<path d=") for m in (runs[1], both)]
    assert lines[1] > lines[0]


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
    assert figures._speed(STAGES[:2]) == "175 images/s"  # (10 * 100 + 30 * 200) / 40
    assert figures._speed(STAGES[2:]) == ""


def test_every_task_has_its_own_colour_and_a_pool_that_of_its_last():
    assert len(set(record.COLOURS.values())) == len(record.COLOURS)
    assert record.colour("rotation+src") == record.colour("src") == record.COLOURS["src"]
    assert record.colour("a task of ours") == record.colour("a task of ours")
    assert record.display("a task of ours") == "a task of ours"
    assert record.display_label("rotation+sc_assl") == "Rotation + SC-ASSL"


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


@pytest.mark.parametrize("c", [1, 3])
def test_example_images(c):
    image = np.full((4, 6, c), 0.5)
    views = np.stack([np.full((4, 6, c), v) for v in (0.0, 1.0, NAN)])
    original, strip = map(decoded, figures.example_images(image, views))
    assert original.shape == ((4, 6) if c == 1 else (4, 6, 3))
    assert np.unique(original) == [128]
    assert strip.shape == (4, 3 * 6 + 2, c + 1)
    alpha = strip[0, :, -1]
    np.testing.assert_array_equal(alpha, [255] * 6 + [0] + [255] * 6 + [0] + [255] * 6)
    np.testing.assert_array_equal(strip[0, [0, 7, 14], 0], [0, 255, 0])


def test_a_volume_shows_its_middle_slices():
    volume = np.zeros((5, 4, 6, 1))
    volume[2] = 1.0
    original, strip = map(decoded, figures.example_images(volume, np.stack([volume, 1 - volume])))
    # Axial 4, coronal 5 and sagittal 5 rows high, with gaps; coronal and sagittal see slice 2.
    column = [255] * 4 + [0] + [0, 0, 255, 0, 0] + [0] + [0, 0, 255, 0, 0]
    assert original[:, 2].tolist() == [
        [v, 0 if i in (4, 10) else 255] for i, v in enumerate(column)
    ]
    assert strip.shape == (16, 6 + 1 + 6, 2)
    np.testing.assert_array_equal(strip[:, :6], original)
    np.testing.assert_array_equal(strip[:4, 7:, 0], 0)


def test_another_quantity_is_drawn_where_it_was_logged():
    def draw(records):
        return curves.training_curves(records, kind="pretrain", quantity="accuracy")

    assert draw(METRICS) == ""
    rising = [r | {"accuracy": 0.1 + r["step"] / 100} for r in METRICS]
    flat = [r | {"accuracy": 0.1} for r in METRICS]
    assert "accuracy" in draw(rising) and draw(rising) != draw(flat)
