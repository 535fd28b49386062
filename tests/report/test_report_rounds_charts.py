"""The charts of a search with rounds: its path, and its scores over their compute."""

import pytest
from reported import results
from searched import changed, on, searched

from assl_jax.records import Network
from assl_jax.report.names import Label
from assl_jax.report.overview import accuracy_chart, legs, trained_pools
from assl_jax.report.search import apart, compute_chart

FOUND = searched()
TAUGHT = "Student of (SimCLR, then Rotation) and (SimCLR, then Rotation, continued)"


def lines_of(ax):
    """The ends of the lines between networks, and their styles."""
    between = [line for line in ax.lines if len(line.get_xdata()) == 2]
    return [(*line.get_xydata().ravel().tolist(), line.get_linestyle()) for line in between]


def test_the_path_follows_what_each_network_goes_on_from():
    titles = [(start.title, end.title) for start, end in legs(FOUND)]
    assert titles == [
        ("SimCLR", "SimCLR, then Rotation"),
        ("SimCLR", "SimCLR, continued"),
        ("Rotation", "Rotation, continued"),
        ("SimCLR, then Rotation", "SimCLR, then Rotation, then SRC"),
        ("SimCLR, then Rotation", "SimCLR, then Rotation, continued"),
        ("SimCLR, then Rotation", TAUGHT),
        ("SimCLR, then Rotation, continued", TAUGHT),
    ]
    verdicts = {row.label.title: row.verdict for row in trained_pools(FOUND)}
    assert verdicts == {
        "From scratch": "",
        "SimCLR": "accepted",
        "Rotation": "",
        "SRC": "",
        "SimCLR, then Rotation": "accepted",
        "SimCLR, continued": "stopped",
        "Rotation, continued": "stopped",
        "SimCLR, then Rotation, then SRC": "stopped",
        "SimCLR, then Rotation, continued": "stopped",
        TAUGHT: "stopped",
    }
    (ax,) = accuracy_chart.__wrapped__(FOUND).axes
    drawn = lines_of(ax)
    assert (72, 1, 76, 4, "-") in drawn  # SimCLR, then Rotation
    assert (72, 1, 73, 5, ":") in drawn and (70, 2, 70.5, 6, ":") in drawn
    assert (76, 4, 77, 9, ":") in drawn and (75.5, 8, 77, 9, ":") in drawn
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[-1] == TAUGHT.replace(" and ", " and\n")


def test_scores_stand_over_their_compute():
    figure = compute_chart.__wrapped__(FOUND)
    tested, believed = figure.axes
    assert [ax.get_title() for ax in figure.axes] == [
        *("accuracy in %, 8,000 test images", "estimate (accuracy in %)")
    ]
    assert not tested.yaxis_inverted() and not believed.yaxis_inverted()
    assert lines_of(tested) == [
        (2, 72, 6, 76, "-"),
        (2, 72, 4, 73, "--"),
        (2, 70, 8, 70.5, "--"),
        (6, 76, 8, 74.5, "-"),
        (6, 76, 8, 75.5, "--"),
        (6, 76, 8, 77, ":"),
        (8, 75.5, 8, 77, ":"),
    ]
    assert lines_of(believed)[:2] == [(2, 70.75, 6, 74.5, "-"), (2, 70.75, 4, 72.25, "--")]
    places = {each.get_text(): each.get_position() for each in tested.texts}
    assert places["1"] == (6, 76) and places["9"] == (2, 66)
    assert "10" not in places and len(places) == 9  # from scratch
    dots = {tuple(line.get_xydata()[0]): line for line in tested.lines if line.get_marker() == "o"}
    assert dots[6, 76].get_markeredgewidth() > dots[8, 77].get_markeredgewidth()
    assert dots[6, 76].get_color() == Label.trained("rotation").colour
    keys = [each.get_text() for each in figure.legends[0].get_texts()]
    assert keys == ["further, with another task", "continued", "teaches the student"]


def test_dots_do_not_cover_one_another():
    """A panel is 10 wide and 100 high, and has room for 18 dots each way."""
    names = [Network(tasks=(name,)) for name in "abcdefg"]
    points = [(0, 0), (10, 100), (0, 0), (0, 6), (0, 1), (5, 50), (5, 44)]
    spots = apart(dict(zip(names, points, strict=True)))
    wide = 10 / 18
    assert list(spots) == names
    found = [x / wide for x, _ in spots.values()]
    # The third is where the first one is; the fifth is close to the first and the third.
    assert found == pytest.approx([0, 18, 1, 0, 2, 9, 9])
    assert [y for _, y in spots.values()] == [y for _, y in points]
    same = apart(dict.fromkeys(names[:3], (2.0, 0.5)))
    assert [x for x, _ in same.values()] == pytest.approx([2, 2 + 1 / 18, 2 + 2 / 18])
    assert apart({}) == {}


def test_a_log_loss_is_upside_down_and_no_percentage():
    figure = compute_chart.__wrapped__(FOUND.replace(metric="log_loss"))
    tested, believed = figure.axes
    assert not tested.yaxis_inverted() and believed.yaxis_inverted()
    assert believed.get_title() == "estimate (log loss)"
    assert lines_of(believed)[0] == (2, 0.7075, 6, 0.745, "-")


def test_no_line_to_a_network_that_was_not_tested():
    first, *others = FOUND.search.standings
    unknown = first.evaluation.replace(metrics={})
    found = changed(FOUND, standings=(first.replace(evaluation=unknown), *others))
    tested, believed = compute_chart.__wrapped__(found).axes
    assert lines_of(tested) == [
        *((2, 72, 4, 73, "--"), (2, 70, 8, 70.5, "--"), (8, 75.5, 8, 77, ":"))
    ]
    assert len(lines_of(believed)) == 7


def test_no_chart_where_a_cost_is_unknown():
    *known, last = FOUND.networks
    assert compute_chart(FOUND)
    assert compute_chart(FOUND.replace(networks=(*known, last.replace(flops=None)))) == ""
    assert compute_chart(FOUND.replace(networks=tuple(known))) == ""
    assert compute_chart(results()) == ""


def test_a_long_title_has_two_lines_of_a_chart():
    """The table below the chart has the whole title."""
    best = FOUND.search.standings[0].network
    teachers = [best, on(best), on(on(best))]
    student = Network(objective="student", teachers=tuple(teachers))
    standing = FOUND.search.standings[1].replace(network=student)
    found = changed(FOUND, standings=(*FOUND.search.standings, standing))
    (ax,) = accuracy_chart.__wrapped__(found).axes
    assert ax.get_yticklabels()[-1].get_text() == (
        "Student of (SimCLR, then Rotation), (SimCLR,\n"
        "then Rotation, continued) and (SimCLR, then …"
    )
