"""Table 4, its guards, charts and sentences, on results that are the paper's own numbers."""

import xml.etree.ElementTree as ET

import pytest

from assl_jax.report import (
    RunRecord,
    metrics,
    page,
    record,
    self_assl,
    self_assl_charts,
    summary_lines,
    tables,
)


def text(row):
    return [cell.text for cell in row.cells]


def words(svg):
    """The text of a chart, which Matplotlib keeps in comments beside the outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    return [node.text.strip() for node in ET.fromstring(svg, parser).iter(ET.Comment)]


def log(label, values, **place):
    return [
        {"stage": f"s-{label}", "kind": "pretrain", "label": label, "step": 10 * i, **place, **v}
        for i, v in enumerate(values)
    ]


def metrics_log(prefix=""):
    penalised = [{"loss": 1.0, "penalty": 0.5 / (i + 1), "similarity": 0.5} for i in range(30)]
    observed = [
        {"similarity_to_frozen": 0.9 - 0.1 * i, "similarity_to_untrained": 0.1, "effective_rank": 9}
        for i in range(4)
    ]
    return [
        *log(f"{prefix}rotation", [{"loss": 1.0}] * 30, task="rotation"),
        *log(f"{prefix}rotation.second_run", [{"loss": 1.0}] * 30, task="rotation"),
        *log(f"{prefix}rotation.second_run", observed, task="held_out"),
        *log(f"{prefix}rotation.self_assl", penalised, task="rotation"),
        *log(f"{prefix}rotation.self_assl", observed, task="held_out"),
    ]


def test_table_4_to_the_digit(table4_results):
    table = self_assl.self_assl_table(table4_results)
    assert table.columns == (
        *("Backbone", "Method", "ACC", "w. Self-ASSL", "ACC (+/-)", "Second run"),
    )
    assert len(table.rows) == 16 and [i for i, row in enumerate(table.rows) if row.opens] == [0, 8]
    assert [text(row) for row in table.rows[8:10]] == [
        ["ResNet-18", "T. f. s.", "63.19 ± 0.50", "–", "–", "–"],
        ["", "Jigsaw", "68.29 ± 0.50", "70.80 ± 0.30", "+2.51 [+1.01, +4.01]", "68.99 ± 0.50"],
    ]
    assert text(table.rows[3])[:5] == [
        *("", "Rotation", "69.33 ± 0.50", "69.09 ± 0.30", "-0.24 [-1.74, +1.26]")
    ]
    # The best of each backbone, as the paper prints them.
    strong = [[c.text for c in row.cells[2:4] if c.strong] for row in table.rows]
    assert [s for s in strong if s] == [
        ["70.31 ± 0.50", "73.04 ± 0.30"],
        ["73.05 ± 0.50"],
        ["74.28 ± 0.30"],
    ]


def test_without_a_second_run_and_without_an_interval(table4_results):
    for group in table4_results["self_assl"]["backbones"]:
        for row in group["rows"]:
            del row["second_run"], row["difference"]["low"]
            row["difference"]["high"] = None
    table = self_assl.self_assl_table(table4_results)
    assert table.columns[-1] == "ACC (+/-)" and text(table.rows[9])[-1] == "+2.51"
    assert "interval" not in table.caption and "second run" not in table.caption
    assert self_assl.certain_line(table4_results) == self_assl.second_line(table4_results) == ""
    assert "second run" not in words(self_assl_charts.self_assl_chart(table4_results))


def test_the_papers_values_on_demand(table4_results):
    table = self_assl.self_assl_table(table4_results, printed_too=True)
    assert table.columns[-3].endswith("paper (STL-10)")
    assert text(table.rows[8])[-3:] == ["63.19", "–", "–"]
    assert text(table.rows[9])[-3:] == ["68.29", "70.80", "+2.51"]
    volumes = table4_results | {"space": [8, 8, 8]}
    table = self_assl.self_assl_table(volumes, printed_too=True)
    assert text(table.rows[-1])[-3:] == ["89.53", "–", "–"]  # SC-ASSL: cannot be read
    assert text(table.rows[1])[-3:] == ["–", "–", "–"]  # no jigsaw in 3D
    for group in table4_results["self_assl"]["backbones"]:
        group["rows"] = [{**group["rows"][0], "pool": ["simclr", "src"]}]
    assert self_assl.self_assl_table(table4_results, printed_too=True) is None


def test_guards(table4_results):
    table = self_assl.guard_table(table4_results)
    assert table.columns[2:] == (
        *("Network", "Similarity to f_p", "Similarity to an untrained network", "Effective rank"),
    )
    assert [text(row) for row in table.rows[:4]] == [
        ["VGG-16", "Jigsaw", "f_p", "–", "0.1000", "20.2"],
        ["", "", "second run", "0.8000", "0.2000", "22.2"],
        ["", "", "Self-ASSL", "0.5000", "0.1500", "21.2"],
        ["", "Inpaint", "f_p", "–", "0.1000", "20.2"],
    ]
    assert len(table.rows) == 2 * 7 * 3
    assert self_assl.guard_table({}) is self_assl.self_assl_table({}) is None


def test_headline_and_sentences(table4_results):
    # Means of the printed differences: (0.98+0.49-0.24+2.73+0.31+3.17+0.76)/7 and of ResNet-18's.
    assert tables.headline(table4_results) == (
        "Self-ASSL: +1.2 points on average over 7 tasks (6 of 7 up) with VGG-16, +1.4 (7 of 7 up) "
        "with ResNet-18 (1,000 labels, test set of 8,000)"
    )
    groups = table4_results["self_assl"]["backbones"]
    assert self_assl.self_assl_lines(table4_results) == [
        "The 95 % interval of the difference is above 0 for 5 of 14, and below 0 for 0.",
        "A second run without the penalty: +0.7 points on average over the first.",
        "Self-ASSL: weight 1, away from f_p, layer pooled, unbiased estimator, whitened "
        "features, queue of 4 d, f' starts from scratch, f' alone is fine-tuned.",
    ]
    del groups[1]
    assert self_assl.self_assl_headline(table4_results) == (
        "Self-ASSL: +1.2 points on average over 7 tasks (6 of 7 up)"
    )
    groups[0]["rows"] = groups[0]["rows"][2:3]
    assert self_assl.self_assl_headline(table4_results) == "Self-ASSL: −0.2 points for Rotation"
    groups[0]["rows"][0]["difference"] = None
    assert self_assl.self_assl_headline(table4_results).endswith("no accuracy was measured")


def test_what_longer_training_gives_is_told_or_asked_for(table4_results):
    assert self_assl.longer_line(table4_results) == ""  # from scratch, and with a control
    entry = table4_results["self_assl"]
    entry["settings"]["init_from"] = "f_p"
    assert self_assl.longer_line(table4_results) == ""
    for group in entry["backbones"]:
        for row in group["rows"]:
            row.pop("second_run", None)
    assert "self_assl.second_run=True" in self_assl.longer_line(table4_results)
    assert self_assl.longer_line(table4_results) in self_assl.self_assl_lines(table4_results)
    entry["settings"]["init_from"] = "scratch"
    assert self_assl.longer_line(table4_results) == ""


def test_settings_that_differ():
    settings = {"weight": 0.5, "sign": "as_printed", "floor": 0.1, "standardise": "none"}
    settings |= {"queue": 0, "init_from": "f_p", "use": "both", "a new one": 3}
    assert self_assl.settings_line({"self_assl": {"settings": settings}}) == (
        "Self-ASSL: weight 0.5, towards f_p (Eq. 6 as printed), down to a similarity of 0.1, "
        "features as they are, f' starts from f_p, f_p and f' are fine-tuned together."
    )
    assert self_assl.settings_line({}) == ""


def test_summary_and_markdown(table4_results):
    lines = summary_lines(table4_results)
    assert lines[2].split()[:2] == ["Backbone", "Method"]
    assert not any("Pretraining" in line for line in lines)  # no table of nothing
    assert tables.render_markdown({"experiment": "self_assl"}).count("|") == 0
    whole = tables.render_markdown(table4_results)
    assert "|  | Jigsaw | 68.29 ± 0.50 | 70.80 ± 0.30 | +2.51 \\[+1.01, +4.01\\] |" in whole
    assert "None" not in whole and "nan" not in whole.lower()


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("rotation.self_assl", "Rotation, Self-ASSL"),
        ("rotation.second_run", "Rotation, second run"),
        ("vgg16/rotation.self_assl", "VGG-16: Rotation, Self-ASSL"),
        ("resnet18/simclr+rotation", "ResNet-18: SimCLR + Rotation"),
        ("vgg16/scratch", "VGG-16: From scratch"),
        ("ours.v2", "ours.v2"),
        ("</script>", "</script>"),
        ("vgg/rotation", "vgg/rotation"),
    ],
)
def test_labels(label, shown):
    assert record.display_label(label) == shown


def test_a_network_has_the_colour_of_its_task():
    assert record.colour("vgg16/src+rotation.self_assl") == record.COLOURS["rotation"]


def test_dumbbells(table4_results):
    svg = self_assl_charts.self_assl_chart(table4_results)
    assert svg == self_assl_charts.self_assl_chart(table4_results) and "nan" not in svg.lower()
    said = words(svg)
    assert said.count("Jigsaw") == said.count("SC-ASSL") == 2
    assert {"VGG-16", "ResNet-18", "second run", "from scratch"} <= set(said)
    assert "+2.51 [+1.01, +4.01]" in said
    group = table4_results["self_assl"]["backbones"][1]
    group["rows"][0]["self_assl"] = {"accuracy": None}
    group["scratch"] = None
    left = self_assl_charts.self_assl_chart(table4_results)
    assert words(left).count("Jigsaw") == 1
    assert self_assl_charts.self_assl_chart({}) == ""


def test_curves_over_training():
    logged = metrics_log("vgg16/") + metrics_log("resnet18/")[:60]
    assert self_assl_charts.curve_backbones(logged) == ["vgg16", "resnet18"]
    svg = self_assl_charts.self_assl_curves(logged, "vgg16")
    said = words(svg)
    titles = list(self_assl_charts.QUANTITIES.values())
    assert [t for t in said if t in titles] == titles and said.count("Rotation") == 1
    # Without its penalty a run has no such panels, and a plain training none at all.
    second = self_assl_charts.self_assl_curves(metrics_log()[:64])
    assert [t for t in words(second) if t in titles] == titles[2:]
    assert self_assl_charts.self_assl_curves(metrics_log()[:30]) == ""
    assert self_assl_charts.curve_backbones(metrics_log()[:30]) == []
    # Both variants are drawn.
    without = [r for r in logged if r["label"] != "vgg16/rotation.second_run"]
    assert self_assl_charts.self_assl_curves(without, "vgg16") != svg


def test_the_page_has_its_sections(table4_results):
    html = page.render_page(RunRecord(table4_results, {}, {}, metrics_log("vgg16/")))
    for title in ("Self-ASSL", "Self-ASSL over training"):
        assert f"<h2>{title}</h2>" in html
    assert "<h3>VGG-16</h3>" in html and "<h2>Accuracy</h2>" not in html
    assert html.index("+2.51") < html.index("paper (STL-10)")  # folded, below
    plain = page.render_page(RunRecord({}, {}, {}, metrics_log()[:30]))
    assert "Self-ASSL" not in plain and "Training curves" in plain


def test_metrics_of_every_network(table4_results):
    measured = {"accuracy": {"mean": 0.7, "std": 0.01}, "auc": {"mean": 0.9, "std": 0.0}}
    group = table4_results["self_assl"]["backbones"][0]
    for key in ("plain", "second_run", "self_assl"):
        group["rows"][0][key]["metrics"] = measured
    table = metrics.metrics_table(table4_results)
    assert [text(row) for row in table.rows] == [
        [name, "70.0 ± 1.0", "90.0"]
        for name in ("VGG-16: Jigsaw", "VGG-16: Jigsaw, second run", "VGG-16: Jigsaw, Self-ASSL")
    ]
