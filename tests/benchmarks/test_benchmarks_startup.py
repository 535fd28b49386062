"""The start-up benchmark: its smallest runs, and the imports of the package itself."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import startup

ROOT = Path(__file__).parents[2]


def run(tmp_path, *options):
    path = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup", "--repeats=1", *options, f"--json={path}"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())["rows"], done.stdout


@pytest.mark.long
def test_phases_of_the_first_step_add_up(tmp_path):
    rows, out = run(tmp_path, "--tables=first", "--width=0.0625")
    assert [row.pop("start") for row in rows["first"]] == ["cold", "kept"]
    for row in rows["first"]:
        whole = row.pop("in all (s)")
        assert len(row) == 6 and all(math.isfinite(each) and each > 0 for each in row.values())
        assert sum(row.values()) == pytest.approx(whole)
    cold, kept = (row["compiling (s)"] for row in rows["first"])
    assert kept < cold
    assert out.splitlines()[2].startswith("| cold | ")


@pytest.mark.long
def test_a_search_traces_every_step_once(tmp_path):
    rows, _ = run(tmp_path, "--tables=search")
    assert {row["step of"] for row in rows["search"]} == {"src", "rotation", "target"}
    assert [row["traces"] for row in rows["search"]] == [1, 1, 1]


@pytest.mark.slow
def test_imports_are_timed_in_interpreters_of_their_own(monkeypatch):
    monkeypatch.setattr(startup, "IMPORTS", {"short": "pass", "long": "import time; time.sleep(1)"})
    short, long = startup.imports(2)
    assert (short["what"], long["what"]) == ("short", "long")
    assert long["median (s)"] > short["median (s)"] + 0.5 > 0.5


def test_the_package_itself_imports_nothing_heavy():
    program = "import sys, assl_jax; print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
