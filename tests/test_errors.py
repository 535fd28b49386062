"""Checks of settings: what they accept, and the one line that they raise."""

import pytest

from assl_jax.errors import LONGEST, InputError, Mistakes, choice, lookup


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


def test_several_mistakes_have_a_line_each():
    error = Mistakes(["seed=-1 must be at least 0", "two\nlines"])
    assert error.lines == ["seed=-1 must be at least 0", "two lines"]
    assert str(error) == "seed=-1 must be at least 0; two lines"
    assert InputError("one").lines == ["one"]
