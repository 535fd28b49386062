"""The pretraining benchmark: its smallest runs, and the PyTorch program it compares with."""

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax import losses

TINY = ("--batch=4", "--width=0.0625", "--steps=1", "--repeats=2")


@pytest.mark.long
@pytest.mark.parametrize(
    "space, task, inputs",
    [("16x16x3", "src", "5x6x6"), ("10x12x12x1", "rubiks_cube", "8x4x4x4")],
)
def test_a_task_has_a_row(benchmark_run, positive, space, task, inputs):
    options = (*TINY, f"--space={space}", f"--tasks={task}", "--backbone=vgg11")
    printed, written = benchmark_run("pretrain", *options)
    (row,) = written["rows"]
    assert (row["task"], row["inputs per image"]) == (task, inputs)
    assert printed.strip().splitlines()[-1].startswith(f"| {task} | {inputs} | ")
    numbers = [name for name, value in row.items() if isinstance(value, float)]
    assert len(numbers) == 5
    positive(row, *numbers)
    counts = {what: len(times) for what, times in row["times"].items()}
    assert counts == {"whole": 2, "bare": 2, "batch": 2}


@pytest.mark.long
def test_simclr_in_both_libraries(benchmark_run, positive):
    pytest.importorskip("torch")
    options = ("--against=torch", "--space=16x16x3", "--backbone=resnet10", "--workers=1")
    (row,) = benchmark_run("pretrain", *TINY, *options)[1]["rows"]
    positive(row, "assl_jax (images/s)", "PyTorch (images/s)")
    ratio = row["assl_jax (images/s)"] / row["PyTorch (images/s)"]
    assert row["assl_jax / PyTorch"] == pytest.approx(ratio)


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
