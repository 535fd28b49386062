"""Several fine-tunings in one program: both forms compute the same steps."""

import jax
import numpy as np
import pytest

from benchmarks.seeds import programs


@pytest.mark.slow
def test_one_program_does_the_steps_of_all_seeds():
    network = {"name": "resnet10", "width": 0.0625, "stem": "half"}
    work = programs((8, 16, 16, 1), network, 2)
    each, together = work["in turn"](), work["one program"]()
    for seed, alone in enumerate(each):
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b)[seed], rtol=1e-3, atol=1e-4)
    first, second = (state.params["backbone"] for state, _ in each)
    assert any(
        (a != b).any() for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )
