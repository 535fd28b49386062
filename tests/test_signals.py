"""Ctrl-C and SIGTERM: one line, the status of the signal, and an end in time."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from assl_jax.errors import Interrupted
from assl_jax.signals import asked, deferred, share, stoppable

ROOT = Path(__file__).parents[1]
EVERY = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
BUSY = """
    import hashlib, threading, time
    from assl_jax import signals
    from assl_jax.errors import Interrupted

    signals.GRACE = {grace}

    def busy():  # a long call of a library, in which Python cannot raise
        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)

    with signals.stoppable():
        try:
            {work}
        except Interrupted as error:
            signals.leave(str(error))
"""


def send(number):
    os.kill(os.getpid(), number)


@EVERY
def test_a_signal_raises(number):
    with stoppable():
        assert not asked()
        with pytest.raises(Interrupted):
            send(number)
        assert asked()
    assert not asked()


@EVERY
def test_handlers_are_restored(number):
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        mine = signal.getsignal(number)
        with pytest.raises(RuntimeError), stoppable():
            assert signal.getsignal(number) is not mine
            raise RuntimeError
        assert signal.getsignal(number) is mine
        send(number)
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_deferred_code_is_asked_and_what_follows_it_is_not_run():
    done = []
    with stoppable():
        with pytest.raises(Interrupted), deferred():
            with deferred():
                send(signal.SIGTERM)
                assert asked()
                done.append("inner")
            done.append("outer")
        assert done == ["inner", "outer"]


def test_an_error_of_deferred_code_is_not_hidden():
    with stoppable(), pytest.raises(ZeroDivisionError), deferred():
        send(signal.SIGTERM)
        1 / 0  # noqa: B018  the error


def test_processes_that_share_a_signal_raise_nothing_until_the_next_command():
    with stoppable():
        share()
        with deferred():
            send(signal.SIGTERM)
        assert asked()
    with stoppable(), pytest.raises(Interrupted):
        send(signal.SIGTERM)


@pytest.fixture
def started():
    """`started(work, grace)`: a process that has begun its work."""
    begun = []

    def start(work, grace):
        code = textwrap.dedent(BUSY).format(work=work, grace=grace)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def ended(process):
    """Exit status and standard error."""
    _, err = process.communicate(timeout=60)
    return process.returncode, err


LINE = "error: stopped; run the same command again to continue\n"


@EVERY
def test_the_process_ends_although_a_library_is_busy(started, number):
    process = started("busy()", grace=0.5)
    process.send_signal(number)
    assert ended(process) == (128 + number, LINE)


def test_a_second_signal_does_not_wait(started):
    process = started("busy()", grace=1000)
    for _ in range(2):
        time.sleep(0.2)  # two signals at once are one
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    assert ended(process) == (130, LINE)


def test_threads_are_not_waited_for(started):
    process = started("threading.Thread(target=busy).start(); time.sleep(1000)", grace=1000)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, LINE)


@EVERY
def test_a_signal_inside_a_destructor_is_not_swallowed(number):
    """Python prints what a destructor raises, and goes on."""
    code = """
        import os
        from assl_jax import signals
        from assl_jax.errors import Interrupted

        class Deleted:
            def __init__(self, error):
                self.error = error

            def __del__(self):
                if self.error:
                    raise self.error
                os.kill(os.getpid(), {number})

        with signals.stoppable():
            Deleted(ZeroDivisionError())
            print("still there", flush=True)
            Deleted(None)
            print("gone on")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code).format(number=int(number))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (128 + number, "still there\n")
    told, line = done.stderr.rsplit("error: ", 1)
    assert f"error: {line}" == LINE and "ZeroDivisionError" in told and "Interrupted" not in told
