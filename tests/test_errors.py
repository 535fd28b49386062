"""Checks of settings: what they accept, and the one line that they raise."""

import math

import pytest

from assl_jax.errors import LONGEST, InputError, choice, in_range, lookup


def test_lookup_returns_the_value_or_shows_the_nearest_name():
    table = {"rotation": 1, "jigsaw": 2}
    assert lookup(table, "jigsaw", "task") == 2
    with pytest.raises(InputError) as error:
        lookup(table, "jigswa", "task")
    assert str(error.value) == (
        "task='jigswa' is unknown; did you mean 'jigsaw'? (one of rotation, jigsaw)"
    )


def test_a_message_is_one_line_of_signs_that_can_be_printed():
    shown = str(InputError("a\n\x1b[31mb\0c\udc80d\xa0e \u00fc\u4e00"))
    assert shown == "a \ufffd[31mb\ufffdc\ufffdd e \u00fc\u4e00"
    whole = "/data/a.npz " + "x" * 5000 + "; download it again"
    assert len(str(InputError(whole))) == LONGEST
    assert str(InputError(whole)).startswith("/data/a.npz xx") and " ... xx" in str(
        InputError(whole)
    )
    assert str(InputError(whole)).endswith("x; download it again")
    assert str(InputError("y" * LONGEST)) == "y" * LONGEST


def test_choice_accepts_the_names_and_no_other():
    choice("mean", ("mean", "sum"), "task.mcpc.reduction")
    choice("sum", {"mean": 1, "sum": 2}, "task.mcpc.reduction")
    with pytest.raises(InputError) as error:
        choice("men", ("mean", "sum"), "task.mcpc.reduction")
    assert str(error.value) == (
        "task.mcpc.reduction='men' is unknown; did you mean 'mean'? (one of mean, sum)"
    )


@pytest.mark.parametrize(
    "bounds, inside, outside, words",
    [
        ({"above": 0, "at_most": 1}, (0.1, 1), (0, 1.1, -1), "above 0 and at most 1"),
        ({"at_least": 0, "below": 1}, (0, 0.9), (1, -0.1), "at least 0 and below 1"),
        ({"at_least": 2}, (2, 1e9), (1, 1.9), "at least 2"),
        ({"above": 0}, (1e-9, 5), (0, -3), "above 0"),
    ],
)
def test_in_range(bounds, inside, outside, words):
    for value in inside:
        in_range(value, "group.key", **bounds)
    for value in (*outside, math.nan):
        with pytest.raises(InputError) as error:
            in_range(value, "group.key", **bounds)
        assert str(error.value) == f"group.key={value} must be {words}"
