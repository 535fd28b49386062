"""One command for all measurements on an accelerator: what it does with time that runs out."""

import importlib
import os
import re
import sys
import time
from pathlib import Path

import pytest

from benchmarks import accelerator

WRITES = "import sys, json; print('hello'); json.dump([7], open(sys.argv[1], 'w'))"
WAITS = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Programs that `python -m` finds."""
    for name, code in {"writes": WRITES, "waits": WAITS, "fails": "1 / 0"}.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_what_fails_or_takes_too_long_costs_only_itself(modules):
    benchmarks = {
        "bad": ["fails"],
        "good": ["writes", "{json}"],
        "long": ["waits"],
        "last": ["writes", "{json}"],
    }
    reported = []
    began = time.monotonic()
    found = accelerator.run(benchmarks, 6, lambda results: reported.append(dict(results)))
    assert time.monotonic() - began < 30  # the worker of the stopped one does not hold its output
    statuses = ["failed", "done", "stopped", "not begun"]
    assert [each["status"] for each in found.values()] == statuses
    assert "ZeroDivisionError" in found["bad"]["output"] and found["bad"]["found"] is None
    assert found["good"]["found"] == [7] and found["good"]["output"] == "hello\n"
    assert [len([e for e in r.values() if "seconds" in e]) for r in reported] == [1, 2, 3]


@pytest.mark.parametrize("name", accelerator.BENCHMARKS)
def test_a_command_has_options_that_exist(name):
    module, *options = accelerator.BENCHMARKS[name]
    if module == "pytest":
        root = Path(accelerator.__file__).parents[1]
        assert all((root / each).exists() for each in options if each.startswith("tests/"))
        return
    source = Path(importlib.import_module(module).__file__).read_text()
    known = set(re.findall(r'add_argument\("(--\w+)"', source))
    assert {option.partition("=")[0] for option in options} <= known
    assert "--json={json}" in options
