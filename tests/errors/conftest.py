"""The table of `tests/files/errors.md`, and the check that a command says what its row promises."""

import re
import resource
import signal
import stat
from pathlib import Path

import pytest

from assl_jax.__main__ import main

TABLE = Path(__file__).parents[1] / "files" / "errors.md"
PLACE = "FOLDER"  # stands for the temporary folder
SECONDS, BYTES = 20, 1e9  # that a mistake may take


def table(text: str) -> dict[str, dict[str, str]]:
    """Messages by topic and by what was given; "…" in a message stands for any text."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            topic = found.setdefault(line[3:], {})
        elif row := re.fullmatch(r"\| (.+) \| (`+) ?(.+?) ?\2 \|", line):
            assert row[1] not in topic, f"two rows: {row[1]}"
            topic[row[1]] = row[3].replace(r"\|", "|")
    return found


@pytest.fixture(scope="session")
def rows():
    return table(TABLE.read_text(encoding="utf-8"))


def pytest_generate_tests(metafunc):
    """A test that takes a `row` is run for every row of its file's topic, and for every case."""
    if "row" in metafunc.fixturenames:
        rows = table(TABLE.read_text(encoding="utf-8"))[metafunc.module.TOPIC]
        cases = getattr(metafunc.module, "CASES", {})
        metafunc.parametrize("row", dict.fromkeys([*rows, *cases]))


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {
        str(path): (0, 0) if stat.S_ISDIR(s.st_mode) else (s.st_size, s.st_mtime_ns)
        for path, s in found.items()
    }


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """`refused(case)`: the message with which a command refuses; nothing else happens.

    A case takes a new folder, where it may write the input, and gives the command's arguments.
    """

    def too_long(*_):
        raise TimeoutError(f"no answer in {SECONDS} seconds")

    def run(case) -> str:
        monkeypatch.chdir(tmp_path)
        arguments = [str(a).replace(PLACE, str(tmp_path)) for a in case(tmp_path)]
        before, memory = files(tmp_path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        capsys.readouterr()
        old = signal.signal(signal.SIGALRM, too_long)
        signal.alarm(SECONDS)
        try:
            with pytest.raises(SystemExit) as end:
                main(arguments)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
        out, err = capsys.readouterr()
        assert end.value.code == 2 and out == ""
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < BYTES / 1024
        assert files(tmp_path) == before
        # Progress and the description of the images may come first.
        *_, last = err.splitlines()
        assert last.startswith("error: ") and err.count("error: ") == 1, err
        return last.removeprefix("error: ").replace(str(tmp_path), PLACE)

    return run


@pytest.fixture
def check(refused, rows):
    """`check(topic, words, case)`: the command says what the row of the table promises."""

    def run(topic, words, case):
        said, promised = refused(case), rows[topic].get(words, "")
        pattern = ".*".join(map(re.escape, promised.split("…")))
        row = f"| {words} | `{said.replace('|', chr(92) + '|')}` |"
        assert re.fullmatch(pattern, said), f"the row should be\n{row}"

    return run


def pytest_collection_modifyitems(items):
    """Half a thousand commands take half a minute: they belong to the slow half."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
