"""The start-up benchmark: its smallest runs, and the imports of the package itself."""

import subprocess
import sys

import pytest

from benchmarks import startup


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
