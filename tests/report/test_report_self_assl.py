"""Table 4, its guards, charts and sentences, on results that are the paper's own numbers."""

import pytest
from networks import labels_of
from reported import TABLE4, evaluation, log, page_of, results, text, words

from assl_jax.records import SelfASSL
from assl_jax.report import metrics, penalty, self_assl
from assl_jax.report.outcome import headline
from assl_jax.tasks import describe
from assl_jax.words import say


def metrics_log(prefix=""):
    """Three trainings, the first of them plain; 98 records."""
    trained = [{"loss": 1.0}] * 30
    penalised = [{"loss": 1.0, "penalty": 0.5 / (i + 1), "similarity": 0.5} for i in range(30)]
    observed = [
        {"similarity_to_frozen": 0.9 - 0.1 * i, "similarity_to_untrained": 0.1, "effective_rank": 9}
        for i in range(4)
    ]
    return [
        *log(f"{prefix}rotation", trained, task="rotation", every=10),
        *log(f"{prefix}rotation.second_run", trained, task="rotation", every=10),
        *log(f"{prefix}rotation.second_run", observed, task="held_out", every=10),
        *log(f"{prefix}rotation.self_assl", penalised, task="rotation", every=10),
        *log(f"{prefix}rotation.self_assl", observed, task="held_out", every=10),
    ]


def curves_of(records, *backbone):
    return penalty.self_assl_curves(records, labels_of(records), *backbone)


def changed(results, rows=lambda rows: rows, *, backbones=slice(None), **settings):
    """Some backbones, with every group of rows replaced by `rows(group)`, and other settings."""
    found = results.self_assl
    groups = tuple(group.replace(rows=rows(group.rows)) for group in found.backbones[backbones])
    settings = found.settings | settings
    return results.replace(self_assl=SelfASSL(settings=settings, backbones=groups))


def without_second_run(rows):
    return tuple(row.replace(second_run=None) for row in rows)


def test_table_4_to_the_digit():
    table = self_assl.self_assl_table(TABLE4)
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


def test_without_a_second_run_and_without_an_interval():
    def bare(rows):
        return tuple(
            row.replace(difference=row.difference.replace(low=None, high=None))
            for row in without_second_run(rows)
        )

    results = changed(TABLE4, bare)
    table = self_assl.self_assl_table(results)
    assert table.columns[-1] == "ACC (+/-)" and text(table.rows[9])[-1] == "+2.51"
    assert "interval" not in table.caption and "second run" not in table.caption
    (settings,) = self_assl.self_assl_lines(results)
    assert settings.startswith("Self-ASSL: weight")
    chart = words(self_assl.self_assl_chart(changed(results, lambda rows: rows[:1])))
    assert "second run" not in chart and "95 % of the difference" not in chart


def test_the_papers_values_on_demand():
    table = self_assl.self_assl_table(TABLE4, with_paper=True)
    assert table.columns[-3].endswith("paper (STL-10)")
    assert text(table.rows[8])[-3:] == ["63.19", "–", "–"]
    assert text(table.rows[9])[-3:] == ["68.29", "70.80", "+2.51"]
    volumes = TABLE4.replace(space=(8, 8, 8))
    table = self_assl.self_assl_table(volumes, with_paper=True)
    assert text(table.rows[-1])[-3:] == ["89.53", "–", "–"]  # SC-ASSL: cannot be read
    assert text(table.rows[1])[-3:] == ["–", "–", "–"]  # no jigsaw in 3D
    pools = changed(TABLE4, lambda rows: (rows[0].replace(pool=("simclr", "src")),))
    assert self_assl.self_assl_table(pools, with_paper=True) is None


def test_guards():
    table = self_assl.guard_table(TABLE4)
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
    assert self_assl.guard_table(results()) is self_assl.self_assl_table(results()) is None


def test_headline_and_sentences():
    # Means of the printed differences: (0.98+0.49-0.24+2.73+0.31+3.17+0.76)/7 and of ResNet-18's.
    assert headline(TABLE4) == (
        "Self-ASSL: +1.2 points on average over 7 tasks (6 of 7 up, 2 beyond the noise) with "
        "VGG-16, +1.4 (7 of 7 up, 3 beyond the noise) with ResNet-18 (1,000 labels, 8,000 test "
        "images)"
    )
    assert self_assl.self_assl_lines(TABLE4) == [
        "The 95 % interval of the difference is above 0 for 5 of 14, and below 0 for 0.",
        "A second run without the penalty: +0.7 points on average over the first.",
        "Self-ASSL: weight 1, away from f_p, layer pooled, unbiased estimator, whitened "
        "features, queue of 4 d, f' starts from scratch, f' alone is fine-tuned.",
    ]
    vgg = changed(TABLE4, backbones=slice(1))
    assert self_assl.self_assl_headline(vgg) == (
        "Self-ASSL: +1.2 points on average over 7 tasks (6 of 7 up, 2 beyond the noise)"
    )
    rotation = changed(vgg, lambda rows: rows[2:3])
    assert self_assl.self_assl_headline(rotation) == (
        "Self-ASSL: −0.2 points for Rotation, within the noise"
    )
    clear = changed(vgg, lambda rows: rows[3:4])
    assert self_assl.self_assl_headline(clear) == "Self-ASSL: +2.7 points for SimCLR"
    nothing = changed(vgg, lambda rows: ())
    assert self_assl.self_assl_headline(nothing).endswith("no accuracy was measured")


def test_what_longer_training_gives_is_told_or_asked_for():
    alone = changed(TABLE4, without_second_run)
    for found, asks in {
        "from scratch, and with a control": (TABLE4, False),
        "with a control": (changed(TABLE4, init_from="f_p"), False),
        "from scratch": (alone, False),
        "neither": (changed(alone, init_from="f_p"), True),
    }.values():
        lines = self_assl.self_assl_lines(found)
        assert any("self_assl.second_run=True" in line for line in lines) == asks


def test_settings_that_differ():
    settings = {"weight": 0.5, "sign": "as_printed", "floor": 0.1, "standardise": "none"}
    settings |= {"queue": 0, "init_from": "f_p", "use": "both", "a new one": 3}
    found = results(self_assl=SelfASSL(settings=settings, backbones=()))
    assert self_assl.self_assl_lines(found)[-1] == (
        "Self-ASSL: weight 0.5, towards f_p (Eq. 6 as printed), down to a similarity of 0.1, "
        "features as they are, f' starts from f_p, f_p and f' are fine-tuned together."
    )
    assert self_assl.self_assl_lines(results()) == []


def test_dumbbells():
    few = changed(TABLE4, lambda rows: rows[:2])
    svg = self_assl.self_assl_chart(few)
    said = words(svg)
    assert said.count("Jigsaw") == said.count("Inpaint") == 2
    assert {"VGG-16", "ResNet-18", "second run", "from scratch"} <= set(said)
    assert {"+2.51 [+1.01, +4.01]", "95 % of the difference"} <= set(said)
    assert self_assl.self_assl_chart(results()) == ""


@pytest.fixture(scope="module")
def vgg_curves():
    return curves_of(metrics_log("vgg16/"), "vgg16")


def test_curves_over_training(vgg_curves):
    said = words(vgg_curves)
    titles = [say(f"curve.{quantity}") for quantity in penalty.QUANTITIES]
    assert [t for t in said if t in titles] == titles and said.count("Rotation") == 1
    # Without its penalty a run has no such panels, and a plain training none at all.
    second = curves_of(metrics_log()[:64])
    assert [t for t in words(second) if t in titles] == titles[2:]
    assert curves_of(metrics_log()[:30]) == ""


def test_a_single_logged_value_is_a_dot():
    """One value has no line to show."""
    dot = f"fill: {describe('rotation').colour.lower()}"
    for times in (1, 2):
        logged = log("rotation.self_assl", [{"penalty": 0.5}] * times, task="rotation")
        assert (dot in curves_of(logged)) == (times == 1)


def test_the_backbones_that_have_curves():
    logged = metrics_log("vgg16/") + metrics_log("resnet18/")[:60]
    assert penalty.curve_backbones(labels_of(logged)) == ["vgg16", "resnet18"]
    assert penalty.curve_backbones(labels_of(metrics_log()[:30])) == []
    earlier = [r.replace(label="rotation.seed1") for r in metrics_log()[:30]]
    assert penalty.curve_backbones(labels_of(earlier)) == []


def test_curves_are_of_one_backbone_and_of_both_variants():
    def ranks(records):
        """A chart of one panel."""
        few = [r for r in records if "effective_rank" in r.values]
        few = [r.replace(values={"effective_rank": r.values["effective_rank"]}) for r in few]
        return curves_of(few, "vgg16")

    vgg, resnet = metrics_log("vgg16/"), metrics_log("resnet18/")
    assert ranks(vgg + resnet) == ranks(vgg) != ""
    assert ranks([r for r in vgg if r.label != "vgg16/rotation.second_run"]) != ranks(vgg)


def test_the_page_has_its_sections(vgg_curves, monkeypatch):
    monkeypatch.setattr(penalty, "self_assl_curves", lambda *_: vgg_curves)  # drawn once
    html = page_of(TABLE4, metrics=metrics_log("vgg16/"))
    for title in ("Self-ASSL", "Self-ASSL over training"):
        assert f"<h2>{title}</h2>" in html
    assert "<h3>VGG-16</h3>" in html and "<h2>Accuracy</h2>" not in html
    assert html.index("+2.51") < html.index("paper (STL-10)")  # folded, below
    plain = page_of(results(), metrics=metrics_log()[:30])
    assert "Self-ASSL" not in plain and "Training curves" in plain


def test_metrics_of_every_network():
    measured = evaluation(70, 1, auc=evaluation(90, 0).accuracy)
    vgg, resnet = TABLE4.self_assl.backbones
    row = vgg.rows[0].replace(plain=measured, second_run=measured, self_assl=measured)
    groups = vgg.replace(rows=(row,)), resnet.replace(rows=())
    found = TABLE4.self_assl.replace(backbones=groups)
    table = metrics.metrics_table(TABLE4.replace(self_assl=found))
    assert [text(row) for row in table.rows] == [
        ["VGG-16: From scratch", "63.9 ± 0.5", "–"],
        ["VGG-16: Jigsaw", "70.0 ± 1.0", "90.0"],
        ["VGG-16: Jigsaw, second run", "70.0 ± 1.0", "90.0"],
        ["VGG-16: Jigsaw, Self-ASSL", "70.0 ± 1.0", "90.0"],
        ["ResNet-18: From scratch", "63.2 ± 0.5", "–"],
    ]
