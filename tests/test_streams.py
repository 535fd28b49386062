"""Standard streams that are closed, full, not read, or not UTF-8: no traceback, no lost status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNREAD, MISTAKE = 141, 2
SECONDS = 120
WRONG = ["runn"]
COMMANDS = [["--version"], ["--help"], ["run", "--help"]]


def ended(words, **options):
    """A process of Python that has ended."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, *words], cwd=ROOT, timeout=SECONDS, **given)


def run(arguments, shell):
    """The program with redirections of a shell."""
    words = ["bash", "-c", f'"$@" {shell}', "bash", sys.executable, "-m", "assl_jax", *arguments]
    return subprocess.run(words, capture_output=True, cwd=ROOT, timeout=SECONDS)


def unread(arguments):
    """A command whose output nobody reads from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        return ended(["-m", "assl_jax", *arguments], stdout=pipe)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_ends_quietly_when_nobody_reads(arguments):
    command = unread(arguments)
    assert (command.returncode, command.stderr) == (UNREAD, b"")


def test_a_mistake_keeps_its_status_when_nobody_reads():
    command = unread(WRONG)
    assert command.returncode == MISTAKE and command.stderr.startswith(b"error: command='runn'")


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", "2> >(true)"])
def test_a_status_needs_no_stderr(shell):
    assert run(WRONG, shell).returncode == MISTAKE
    assert run(["--version"], shell).returncode == 0


def test_a_closed_stream_gives_its_number_to_no_file():
    code = """
import os, sys
from assl_jax import console
console.prepare()
with open(sys.argv[1], "wb") as file:
    os.write(1, b"for nobody"), os.write(2, b"for nobody")
    print("out"), console.say("err")
    assert file.fileno() > 2, file.fileno()
"""
    file = ROOT / "absent" if os.name == "nt" else "/dev/null"
    words = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, "-c", code, str(file)]
    assert subprocess.run(words, cwd=ROOT, timeout=SECONDS).returncode == 0


def test_a_full_disk_behind_stdout_is_told():
    command = run(["run", "--help"], ">/dev/full")
    assert command.returncode == MISTAKE
    assert command.stderr.startswith(b"error: No space left on device")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-16", "utf-8"])
def test_characters_that_a_terminal_lacks_are_replaced(encoding):
    code = """
from assl_jax import console
console.prepare()
console.prepare()
print("90.07 ± 1.36 – 東京")
console.say("90.07 ± 1.36 – 東京")
"""
    program = ended(["-c", code], env={**os.environ, "PYTHONIOENCODING": encoding})
    assert program.returncode == 0
    said = program.stdout.decode(encoding)
    assert said.startswith("90.07 ") and ("東京" if encoding.startswith("utf") else "??") in said
    assert program.stderr.decode(encoding).startswith("90.07 ")


def test_a_path_that_is_no_text_keeps_its_bytes():
    """In the locale C, Python passes the bytes on; nothing is replaced there."""
    code = """
import os
from assl_jax import console
console.prepare()
print(os.fsdecode(b"a\\xff.png"))
"""
    known = {k: v for k, v in os.environ.items() if k not in ("LC_ALL", "LANG", "PYTHONIOENCODING")}
    program = ended(["-c", code], env={**known, "LC_ALL": "C"})
    assert (program.returncode, program.stdout) == (0, b"a\xff.png\n")


@pytest.mark.parametrize(
    "name, value, install",
    [
        ("JAX_PLATFORMS", "cuda", "jax[cuda13]"),
        ("JAX_PLATFORMS", "CPU", ""),
        ("JAX_PLATFORM_NAME", "gpu", "jax[cuda13]"),
    ],
)
def test_a_platform_that_is_not_there_is_one_line(name, value, install):
    program = with_platform(name, value, "import jax; jax.devices()")
    (line,) = program.stderr.decode().splitlines()
    assert program.returncode == MISTAKE
    assert line.startswith(f"error: {name}={value}: JAX has no such device here (it has ")
    assert f"; unset {name}" in line and line.endswith(f"'{install}'" if install else name)


def test_platforms_that_are_there_hide_no_defect():
    program = with_platform("JAX_PLATFORMS", "cpu,cuda", "raise RuntimeError('a defect')")
    assert program.returncode == 1 and program.stderr.endswith(b"RuntimeError: a defect\n")


def with_platform(name, value, work):
    """The program with a command that does `work`."""
    code = f"""
import sys, types
def main(argv):
    {work}
sys.modules["assl_jax.commands.list"] = types.SimpleNamespace(main=main)
from assl_jax.__main__ import main
main(["list"])
"""
    return ended(["-c", code], env={**os.environ, "JAX_PLATFORMS": "", name: value})
