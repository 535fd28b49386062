"""Runs benchmarks as their users do, with the smallest sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark_run(tmp_path):
    """`benchmark_run(name, *options)` returns what the benchmark printed and the JSON it wrote."""

    def run(name, *options):
        file = tmp_path / f"{name}.json"
        quick = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *options, f"--json={file}"],
            cwd=ROOT,
            env=os.environ | quick,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads(file.read_text())

    return run


@pytest.fixture
def tables_in():
    """`tables_in(text)` returns its Markdown tables; a table is a list of rows by column."""

    def read(text):
        tables = []
        for block in text.split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("| ")]
            cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            for i, row in enumerate(cells):
                if set("".join(row)) == {"-"}:
                    rows = cells[i + 1 :]
                    assert all(len(r) == len(cells[i - 1]) for r in rows)
                    tables.append([dict(zip(cells[i - 1], r, strict=True)) for r in rows])
        return tables

    return read
