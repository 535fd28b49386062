"""Conclusions that do not mislead: no gain, noise, few pairs, and the size of the test set."""

import re

import pytest
from networks import network_of
from reported import PAIRS, TABLE4, evaluation, results, tables_of, words

from assl_jax.records import Best, Correlation, Estimate
from assl_jax.report import summary_lines
from assl_jax.report.evaluations import within_noise
from assl_jax.report.metrics import metrics_table
from assl_jax.report.outcome import headline, outcome_lines
from assl_jax.report.overview import accuracy_chart, headline_table
from assl_jax.report.pairs import pairs_table
from assl_jax.report.pairs_chart import pairs_chart
from assl_jax.report.self_assl import self_assl_chart, self_assl_table

TESTED = "8,000 test images"
END = f" (1,000 labels, {TESTED})"


def gain(mean, low, high, runs=()):
    """An estimate in points; the deviation is that of the runs."""
    spread = (max(runs) - min(runs)) / 2**0.5 if len(runs) == 2 else 0.0
    each = tuple(run / 100 for run in runs)
    return Estimate(mean=mean / 100, std=spread / 100, runs=each, low=low / 100, high=high / 100)


def search(simclr, rotation, **changes):
    """Two tasks, SimCLR is kept; 60 % from scratch."""
    singles = {"simclr": evaluation(simclr), "rotation": evaluation(rotation)}
    best = Best(network=network_of("simclr"), evaluation=singles["simclr"])
    return results(**{"scratch": evaluation(60), "singles": singles, "best": best} | changes)


def test_the_headline_of_each_kind_of_run():
    new = Best(network=network_of("new_task"), evaluation=evaluation(50, 0))
    kinds = {
        "new_task: 50.0 %" + END: {"experiment": "pretrain", "best": new},
        "Training from scratch: 25.0 %" + END: {"scratch": evaluation(25, 0)},
        "No accuracy was measured": {},
        "Rotation was pretrained; without labels, no accuracy was measured": {
            "pretrained": network_of("rotation")
        },
    }
    for outcome, found in kinds.items():
        assert headline(results(**found)) == outcome


@pytest.mark.parametrize(
    ("simclr", "rotation", "start", "end"),
    [
        (59, 58, "Nothing beat training from scratch. The search kept SimCLR", "from scratch"),
        (60, 60, "Nothing beat training from scratch. The search kept SimCLR", "from scratch"),
        (59, 61, "The search kept SimCLR alone: 59.0", "from scratch: no gain"),
        (61, 58, "The search kept SimCLR alone: 61.0", "from scratch"),
    ],
)
def test_the_headline_says_if_nothing_beat_scratch(simclr, rotation, start, end):
    words = headline(search(simclr, rotation))
    assert words.startswith(start)
    assert words.endswith(end + END)


@pytest.mark.parametrize(
    ("over", "noise"),
    [
        (gain(4, 1, 7), False),
        (gain(4, -1, 9), True),
        (gain(-4, -7, -1), False),
        (gain(4, 4, 4), True),  # no width: too few images to tell
        (gain(4, 1, 7, runs=(3.5, 4.5)), False),  # standard error 0.5
        (gain(4, 1, 7, runs=(1, 7)), True),  # standard error 3
    ],
)
def test_a_difference_is_noise_if_images_or_fine_tunings_may_explain_it(over, noise):
    assert within_noise(over) == noise
    words = headline(search(64, 58, over_scratch=over))
    assert words.endswith(f", a difference within the noise{END}") == noise


def test_how_sure_the_gain_is():
    found = search(64, 58, over_scratch=gain(4, -1, 9, runs=(1, 7)), patients=25)
    line = (
        "Gain over scratch, paired by image: +4.0 points; 95 % interval −1.0 to +9.0 (8,000 test "
        "images of 25 patients); standard error over 2 fine-tunings 3.0."
    )
    assert outcome_lines(found) == [line]
    assert line in tables_of(found) and line in summary_lines(found)
    narrow = search(64, 58, over_scratch=gain(4, 4, 4), test_images=6)
    assert outcome_lines(narrow) == [
        "Gain over scratch, paired by image: +4.0 points; the test set is too small for an "
        "interval (6 test images)."
    ]
    assert outcome_lines(search(64, 58)) == []


def test_few_pairs_have_no_correlation_in_the_headline_and_the_chart():
    few = PAIRS.replace(pairs=PAIRS.pairs[:3])
    start = "Similarity against gain over"
    assert headline(few).startswith(f"{start} 3 pairs: too few for a correlation (")
    titles = [text for text in words(pairs_chart(few)) if "gain" in text.lower()]
    assert titles and not any("Spearman" in title for title in titles)
    chance = {"avg_gain": Correlation(spearman=-0.4, spearman_p=0.2)}
    by_chance = headline(PAIRS.replace(correlation=chance))
    assert by_chance.startswith(f"{start} 15 pairs: no relation beyond chance (")


def test_the_test_set_stands_beside_every_result():
    found = search(64, 58)
    tables = headline_table(found), metrics_table(found), pairs_table(PAIRS)
    assert all(TESTED in each.caption for each in (*tables, self_assl_table(TABLE4)))
    charts = accuracy_chart(found), pairs_chart(PAIRS), self_assl_chart(TABLE4)
    assert all(any(TESTED in text for text in words(chart)) for chart in charts)
    known = accuracy_chart(found.replace(patients=25))
    assert any("8,000 test images of 25 patients" in text for text in words(known))


def test_axes_of_percentages_end_at_100():
    chart = accuracy_chart(search(99, 98, scratch=evaluation(97, 4)))
    ticks = [float(t) for t in words(chart) if re.fullmatch(r"[\d.]+", t)]
    assert ticks and max(ticks) <= 100
    chart = accuracy_chart(search(1, 2, scratch=evaluation(1, 4)))
    assert not any(text.startswith("−") for text in words(chart))
