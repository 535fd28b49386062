"""The start-up benchmark: its smallest runs, and the imports of the package itself."""

import subprocess
import sys

import pytest

from benchmarks import startup


@pytest.mark.long
def test_phases_of_the_first_step_add_up(benchmark_run, positive):
    out, written = benchmark_run("startup", "--repeats=1", "--tables=first", "--width=0.0625")
    rows = written["rows"]["first"]
    assert [row.pop("start") for row in rows] == ["cold", "kept"]
    for row in rows:
        whole = row.pop("in all (s)")
        assert len(row) == 6 and sum(row.values()) == pytest.approx(whole)
        positive(row, *row)
    assert rows[1]["compiling (s)"] < rows[0]["compiling (s)"]
    assert out.splitlines()[2].startswith("| cold | ")


@pytest.mark.long
def test_a_search_traces_every_step_once(benchmark_run):
    rows = benchmark_run("startup", "--repeats=1", "--tables=search")[1]["rows"]["search"]
    assert {row["step of"] for row in rows} >= {"src", "rotation", "target"}
    assert {row["traces"] for row in rows} == {1}


@pytest.mark.slow
def test_imports_are_timed_in_interpreters_of_their_own(monkeypatch):
    monkeypatch.setattr(startup, "IMPORTS", {"short": "pass", "long": "import time; time.sleep(1)"})
    short, long = startup.imports(2)
    assert (short["what"], long["what"]) == ("short", "long")
    assert long["median (s)"] > short["median (s)"] + 0.5 > 0.5


def test_the_package_itself_imports_nothing_heavy():
    program = "import sys, assl_jax; print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
