"""Everything that a benchmark imports from the package exists, also inside its functions."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("benchmarks/*.py"))


def imported(source):
    """Module and name of every `from assl_jax... import name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("assl_jax"):
            yield from ((node.module, alias.name) for alias in node.names)


def exists(module, name):
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_benchmark_imports_exists(file):
    missing = [pair for pair in imported(file.read_text()) if not exists(*pair)]
    assert not missing
