"""Checks of settings: what they accept, and the one line that they raise."""

import pytest

from assl_jax.errors import LONGEST, InputError, Mistakes, choice, lookup


def test_an_unknown_name_shows_the_nearest_one():
    table = {"rotation": 1, "jigsaw": 2}
    assert lookup(table, "jigsaw", "task") == 2
    choice("jigsaw", ("rotation", "jigsaw"), "task")
    message = "task='jigswa' is unknown; did you mean 'jigsaw'? (one of rotation, jigsaw)"
    for ask in (lambda: lookup(table, "jigswa", "task"), lambda: choice("jigswa", table, "task")):
        with pytest.raises(InputError) as error:
            ask()
        assert str(error.value) == message


def test_a_message_is_one_line_of_signs_that_can_be_printed():
    shown = str(InputError("a\n\x1b[31mb\0c\udc80d\xa0e \u00fc\u4e00"))
    assert shown == "a \ufffd[31mb\ufffdc\ufffdd e \u00fc\u4e00"
    cut = str(InputError("/data/a.npz " + "x" * 5000 + "; download it again"))
    assert len(cut) == LONGEST and " ... xx" in cut
    assert cut.startswith("/data/a.npz xx") and cut.endswith("x; download it again")
    assert str(InputError("y" * LONGEST)) == "y" * LONGEST


def test_several_mistakes_have_a_line_each():
    error = Mistakes(["seed=-1 must be at least 0", "two\nlines"])
    assert error.lines == ["seed=-1 must be at least 0", "two lines"]
    assert str(error) == "seed=-1 must be at least 0; two lines"
    assert InputError("one").lines == ["one"]
