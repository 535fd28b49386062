"""The pretraining benchmark: its smallest runs, and the PyTorch program it compares with."""

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax import losses


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
