"""The page: self-contained, escaped, complete, and the same for the same run."""

import base64
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from assl_jax.report import RunRecord, TaskExamples, page, record, write_report
from assl_jax.tasks import TASKS

EVIL = '<script>alert("x")</script>&'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Collects what the tests look at; fails on tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.resources, self.alts, self.text = [], [], [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.resources += [attributes[k] for k in ("src", "href", "srcset") if k in attributes]
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            self.alts.append(attributes["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def run(**changes):
    results = {
        "experiment": "mtassl",
        "data": EVIL,
        "seed": 3,
        "select_on": "cv",
        "labels": 100,
        "classes": [EVIL, "b"],
        "scratch": {"accuracy": 0.5, "std": 0.02, "selection": 0.4, "runs": [0.48, 0.52]},
        "singles": {
            "simclr": {"accuracy": 0.6, "std": 0.01, "selection": 0.5, "runs": [0.6]},
            EVIL: {"accuracy": 0.55, "std": float("nan"), "selection": None, "runs": []},
        },
        "similarity": {
            "tasks": ["simclr", EVIL],
            "n": 64,
            "layer": "pooled",
            "estimator": "biased",
            "matrix": [[1.0, 0.25], [0.25, 1.0]],
        },
        "iterations": [
            {
                "pool": ["simclr"],
                "candidates": [
                    {
                        **{"task": EVIL, "similarity": 0.25, "accuracy": 0.65, "std": 0.01},
                        **{"selection": 0.45, "avg": 0.575, "max": 0.6},
                        **{"avg_gain": 0.075, "max_gain": 0.05},
                    }
                ],
                "chosen": EVIL,
                "accepted": False,
            }
        ],
        "best": {"pool": ["simclr"], "accuracy": 0.6, "std": 0.01, "backbone": "stages/a/b"},
        "skipped": [f"{EVIL}.png: not an image"],
    } | changes
    metrics = [
        {"stage": kind, "kind": kind, "label": "simclr", "step": i, "loss": 1 / (i + 1)}
        for kind in ("pretrain", "finetune")
        for i in range(5)
    ]
    stages = [{"stage": "s", "kind": "pretrain", "label": EVIL, "seconds": 2.0, "result": {}}]
    images = np.linspace(0, 1, 2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    examples = {"simclr": TaskExamples(images, np.stack([images] * 2, 1), [EVIL, ""])}
    config = {"data": {"name": EVIL, "size": 32}, EVIL: {}, "seed": 3}
    environment = {"jax": "0.10", "command": f"python main.py --config={EVIL}", "python": "3.11"}
    return RunRecord(results, config, environment, metrics, stages, examples)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("run"), run()).read_text(encoding="utf-8")


def test_every_resource_is_inline(html):
    page = Page(html)
    assert page.resources and all(r.startswith("data:") for r in page.resources)
    assert "url(" not in html and "@import" not in html and "http" not in html
    assert not {"script", "iframe", "object", "form"} & set(page.tags)
    kinds = [r.split(";")[0].removeprefix("data:image/") for r in page.resources[1:]]
    assert kinds.count("svg+xml") == 5  # accuracy, similarity, two of losses, time
    assert kinds.count("png") == 4  # two originals, two strips of views
    for resource in page.resources[1:]:
        data = base64.b64decode(resource.split("base64,")[1], validate=True)
        if "svg" in resource[:20]:
            assert ET.fromstring(data).tag.endswith("svg")
        else:
            assert data.startswith(b"\x89PNG")


def test_images_have_alternative_texts_and_the_page_its_landmarks(html):
    page = Page(html)
    assert len(page.alts) == 9 and all(len(alt) > 10 for alt in page.alts)
    assert "SimCLR, 2 views" in page.alts and page.tags.count("figcaption") == 1
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("title") == 1
    assert '<html lang="en">' in html and 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html


def test_the_headline_comes_first_and_the_sections_follow(html):
    page = Page(html)
    parts = [
        "Algorithm 1 kept SimCLR alone: 60.0 ± 1.0 % against 50.0 ± 2.0 % from scratch",
        "Fine-tuning with 100 labels",
        "MT-ASSL search",
        "was least similar to SimCLR (similarity 0.2500)",
        "below 50.00 %, so the search stopped.",
        "Similarity between features (biased estimator, layer pooled, 64 images)",
        "Two random views",
        "moving mean",
        "1 file, with reasons",
        "python main.py",
        "stages/a/b",
        "data.size",
    ]
    places = [page.text.index(part, page.text.index("seed 3")) for part in parts]
    assert places == sorted(places)


def test_hostile_names_are_text(html):
    assert "<script" not in html
    assert f"data {EVIL}" in Page(html).text
    assert 'alert("x")' not in html  # in attributes too, quotes are escaped


def test_no_missing_value_shows(html):
    text = Page(html).text.lower()
    assert "nan" not in text and "none" not in text


def test_same_run_same_bytes_and_nothing_left_behind(tmp_path):
    first = write_report(tmp_path / "deep" / "a", run())
    second = write_report(tmp_path / "b", run())
    assert first == tmp_path / "deep" / "a" / "index.html"
    write_report(tmp_path / "b", run())  # over an older report
    for folder in (first.parent, second.parent):
        assert sorted(p.name for p in folder.iterdir()) == ["index.html", "tables.md"]
    for name in ("index.html", "tables.md"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    page = write_report(tmp_path, run())
    before = page.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, run(seed=4))
    assert page.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.html", "tables.md"]


def test_selection_on_the_test_set_is_said_at_the_top(html, tmp_path):
    warned = write_report(tmp_path, run(select_on="test")).read_text(encoding="utf-8")
    assert 'class="warning"' in warned and 'class="warning"' not in html
    text = Page(warned).text
    assert text.index("has seen the test set") < text.index("Fine-tuning with")


@pytest.mark.parametrize(
    "results",
    [
        {},
        {
            "experiment": "pretrain",
            "select_on": "cv",
            "scratch": {"accuracy": 0.5, "std": 0.1, "selection": 0.5, "runs": [0.5]},
            "best": {"pool": ["simclr"], "accuracy": 0.6, "std": 0.1, "selection": 0.6},
            "similarity": {},
            "iterations": [],
        },
    ],
)
def test_missing_sections_are_left_out(results, tmp_path):
    html = write_report(tmp_path, RunRecord(results, {}, {})).read_text(encoding="utf-8")
    page = Page(html)
    assert (
        "Search" not in page.text and "Training curves" not in page.text and "Time" not in page.text
    )
    assert ("SimCLR: 60.0 ± 10.0 % against 50.0 ± 10.0 %" in page.text) == bool(results)
    assert page.tags.count("img") == (1 if results else 0)


def test_the_memory_of_the_stages_is_below_their_time(tmp_path):
    stages = [
        {"stage": "s", "kind": kind, "label": "simclr", "seconds": 2.0, "result": {}}
        | {"peak_host_bytes": 5 * 2**29, "peak_device_bytes": on_device}
        for kind, on_device in (("pretrain", 2**30), ("features", None))
    ]
    shown = Page(
        write_report(tmp_path, RunRecord({}, {}, {}, stages=stages)).read_text(encoding="utf-8")
    )
    after = shown.text[shown.text.index("Time and memory") :]
    assert "Peak host memory (GiB)Peak device memory (GiB)" in after
    assert "SimCLRpretrain2.02.501.00" in after and "SimCLRfeatures2.02.50–" in after


def test_every_task_has_a_name_a_colour_and_a_description():
    assert set(TASKS) <= set(page.SHOWN)
    assert set(page.SHOWN) | {"scratch"} == set(record.NAMES) == set(record.COLOURS)


def test_volumes_are_shown_in_three_planes_and_many_views_thinned_out(html, tmp_path):
    volumes = np.linspace(0, 1, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6, 1)
    examples = {
        "cpc": TaskExamples(volumes, np.stack([volumes[:, :2, :3, :3]] * 27, 1), ["", "class 3"]),
        "models_genesis": TaskExamples(volumes, volumes[:, None], ["", ""]),
    }
    shown = Page(write_report(tmp_path, RunRecord({}, {}, {}, examples=examples)).read_text())
    assert shown.text.count("axial, coronal, sagittal") == 1
    assert "axial" not in Page(html).text
    assert shown.text.count("10 of 27 views are shown") == 1
    assert shown.alts == [
        *("Original volume", "CPC, 10 of 27 views"),
        *("Original volume", "CPC, 10 of 27 views: class 3"),
        *("Original volume", "Models Genesis, 1 view") * 2,
    ]


def test_metrics_and_confusions_have_a_section(html, tmp_path):
    figures = {"mean": 0.8, "std": 0.01, "low": 0.7, "high": 0.9}
    tested = {"metrics": {"accuracy": figures, "auc": figures}, "confusion": [[3, 1], [0, 0]]}
    results = run().results | {"metric": "auc", "test_images": 4, "select_on": "cv"}
    results["best"] = results["best"] | tested
    results["scratch"] = results["scratch"] | tested
    written = write_report(tmp_path, RunRecord(results, {}, {})).read_text(encoding="utf-8")
    shown = Page(written)
    assert "80.0 ± 1.0 [70.0, 90.0]" in shown.text and "<h2>AUC</h2>" in written
    assert "<h2>Metrics</h2>" in written and "<h2>Metrics</h2>" not in html
    assert "bootstrap over 4 images" in shown.text and "share of the true class" in shown.text
    parts = f"{EVIL} 75 % right, b 0 % right"
    assert f"Confusion matrices. SimCLR: {parts}; From scratch: {parts}" in shown.alts
    assert shown.alts[0].startswith("Dot chart of test AUC in %: From scratch 80.00")
    assert "<script" not in written
