"""Progress bars, plain lines and errors."""

import io
import logging
import sys
import warnings

import pytest

from assl_jax import console
from assl_jax.console import Progress, fail, hush, say, say_lines, set_quiet, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_without_a_terminal(capsys, clock):
    with Progress("pretrain src", 100) as shown:
        shown.update(10, "loss 2")  # too early
        clock[0] = 20.0
        shown.update(20)  # nothing to say
        shown.update(30, "loss 1.5")
        clock[0] = 22.0
        shown.update(40, "loss 1.4")  # too early again
        shown.update(100, "loss 1")  # the end is always shown
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["pretrain src: 30/100  loss 1.5", "pretrain src: 100/100  loss 1"]


@pytest.mark.parametrize("title", ["pretrain src", ""])
def test_a_bar_on_a_terminal(monkeypatch, title):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(title, 10, done=4) as shown:
        shown.update(5)
        shown.update(10, "loss 1.25")
    text = terminal.getvalue()
    assert ("pretrain src" in text and "10/10" in text and "loss 1.25" in text) == bool(title)
    assert bool(text) == bool(title)


def test_track_yields_the_items_and_shows_how_many_are_done(capsys, clock):
    items = []
    for item in track("abcdefgh", "reading", 8):
        items.append(item)
        clock[0] += 10.0
    assert "".join(items) == "abcdefgh"
    # A line at most every 15 seconds, and one at the end.
    lines = [f"reading: {n}/8" for n in (2, 4, 6, 8)]
    assert capsys.readouterr().err.splitlines() == lines


def test_a_quiet_process_says_nothing(capsys, clock):
    say("before")
    set_quiet(True)
    try:
        say("nothing")
        assert list(track([1], "reading", 1)) == [1]
    finally:
        set_quiet(False)
    say("after")
    assert capsys.readouterr() == ("", "before\nafter\n")


@pytest.fixture
def expected(clock):
    yield console.expect
    console.expect_nothing()


def test_lines_and_bars_say_how_much_of_the_whole_run_is_left(capsys, clock, expected, monkeypatch):
    expected(300, 7200)
    with Progress("pretrain src", 100) as shown:
        clock[0] = 60.0
        shown.update(30, "loss 1.5")
        clock[0] = 360.0  # it counts down, and never to nothing while there is work
        shown.update(60, "loss 1")
        clock[0] = 7300.0
        shown.update(100, "loss 1")
    assert capsys.readouterr().err.splitlines() == [
        "pretrain src: 30/100  loss 1.5  whole run: 4 min to 2.0 h left",
        "pretrain src: 60/100  loss 1  whole run: up to 1.9 h left",
        "pretrain src: 100/100  loss 1",
    ]
    for seconds, words in ((600, "whole run: 10 min left"), (None, "")):
        console.expect_nothing()
        if seconds:
            expected(seconds, seconds)
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress("pretrain src", 10):
            pass
        assert words in terminal.getvalue() and ("whole" in terminal.getvalue()) == bool(words)


def test_fail_prints_one_line_and_exits_with_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        fail("no such\n  file")
    assert stop.value.code == 2
    assert capsys.readouterr() == ("", "error: no such file\n")


def test_a_library_is_hushed_and_others_are_not(caplog):
    code = compile("import warnings; warnings.warn('odd')", "library", "exec")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        hush("scanner")
        for module in ("scanner", "scanner.tags", "scanners", "other.scanner"):
            exec(code, {"__name__": module})
            logging.getLogger(module).error("odd %s", module)
    assert len(seen) == 2
    assert [record.name for record in caplog.records] == ["scanners", "other.scanner"]


def test_a_line_is_one_write(monkeypatch):
    """A signal between a text and its end of line would put the last line of all behind it."""
    written = []

    class Stream(io.StringIO):
        def write(self, text):
            written.append(text)

    monkeypatch.setattr(sys, "stderr", Stream())
    say_lines(["a", "b"])
    assert [text for text in written if text] == ["a\n", "b\n", "\n"]
