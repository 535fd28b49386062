"""The pretraining benchmark: its smallest runs, and the PyTorch program it compares with."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax import losses

ROOT = Path(__file__).parents[2]
TINY = ("--batch=4", "--width=0.0625", "--steps=1", "--repeats=2")


def run(tmp_path, *options):
    """The rows of the JSON file, and the lines of all tables."""
    path = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pretrain", *TINY, *options, f"--json={path}"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    return json.loads(path.read_text())["rows"], [line for line in lines if line.startswith("| ")]


@pytest.mark.long
@pytest.mark.parametrize(
    ("space", "task", "inputs"),
    [
        ("16x16x3", "src", "5x6x6"),
        ("10x12x12x1", "rubiks_cube", "8x4x4x4"),
    ],
)
def test_a_task_has_a_row(tmp_path, space, task, inputs):
    (row,), lines = run(tmp_path, f"--space={space}", f"--tasks={task}", "--backbone=vgg11")
    assert (row["task"], row["inputs per image"]) == (task, inputs)
    assert lines[-1].startswith(f"| {task} | {inputs} | ")
    numbers = [value for value in row.values() if isinstance(value, float)]
    assert len(numbers) == 5 and all(math.isfinite(n) and n > 0 for n in numbers)
    counts = {what: len(times) for what, times in row["times"].items()}
    assert counts == {"whole": 2, "bare": 2, "batch": 2}


@pytest.mark.long
def test_simclr_in_both_libraries(tmp_path):
    pytest.importorskip("torch")
    options = ("--against=torch", "--space=16x16x3", "--backbone=resnet10", "--workers=1")
    (row,), _ = run(tmp_path, *options)
    ours, theirs = row["assl_jax (images/s)"], row["PyTorch (images/s)"]
    assert ours > 0 and theirs > 0
    assert row["assl_jax / PyTorch"] == pytest.approx(ours / theirs)


def test_pytorch_minimises_the_same_loss():
    torch = pytest.importorskip("torch")
    from benchmarks.torch_simclr import TEMPERATURE, nt_xent

    a, b = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    ours = losses.nt_xent(jnp.asarray(a), jnp.asarray(b), temperature=TEMPERATURE).mean()
    theirs = nt_xent(torch.from_numpy(a), torch.from_numpy(b))
    assert float(theirs) == pytest.approx(float(ours), rel=1e-5)


def test_views_are_two_and_standardised():
    pytest.importorskip("torch")
    from benchmarks.torch_simclr import Views

    images = np.random.default_rng(0).integers(0, 256, (3, 24, 20, 3), dtype=np.uint8)
    views = Views(images)
    first, second = views[1].numpy()
    assert len(views) == 3 and first.shape == (3, 24, 20)
    assert min(first.min(), second.min()) >= -2 and max(first.max(), second.max()) <= 2
    assert np.abs(first - second).max() > 0.1
