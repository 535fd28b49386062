"""What is shown while a stage runs."""

import io
import sys

import pytest

from assl_jax.training import progress
from assl_jax.console import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that is turned by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_where_there_is_no_terminal(capsys, clock):
    with Progress("pretrain src", 100) as shown:
        shown.update(10, "loss 2")  # too early
        clock[0] = 20.0
        shown.update(20)  # nothing to say
        shown.update(30, "loss 1.5")
        clock[0] = 22.0
        shown.update(40, "loss 1.4")  # too early again
        shown.update(100, "loss 1")  # the end is always told
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["pretrain src: 30/100  loss 1.5", "pretrain src: 100/100  loss 1"]


def test_silent_without_a_title(capsys, clock):
    with Progress("", 10) as shown:
        clock[0] = 99.0
        shown.update(10, "loss 1")
    assert capsys.readouterr() == ("", "")


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
