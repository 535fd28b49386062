"""Every task in bfloat16 against float32: the loss, and the gradient's norm and direction.

The bounds are those of `docs/reliability.md`.
"""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_tasks import small_task

from assl_jax.models.base import batch_norm, feature_maps
from assl_jax.models.conv import Conv
from assl_jax.tasks import TASKS

CASES = {"image": (4, 32, 32, 3), "volume": (4, 16, 16, 16, 1)}
# Bounds: relative difference of the loss, of the gradient's norm, and 1 - cosine of the gradients.
BOUNDS = {
    "src": (0.001, 0.006, 0.01),
    "mcpc": (0.001, 0.01, 0.02),
    "sc_assl": (0.001, 0.006, 0.01),
    "jigsaw": (0.001, 0.003, 0.01),
    "rubiks_cube": (0.001, 0.006, 0.01),
    "rotation": (0.001, 0.003, 0.006),
    "inpaint": (0.003, 0.006, 0.001),
    "models_genesis": (0.003, 0.006, 0.001),
    "simclr": (0.001, 0.006, 0.002),
    "vicreg": (0.01, 0.003, 0.02),
    "byol": (0.02, 0.1, 0.005),
    "cpc": (0.001, 0.006, 0.015),
}


class Small(nn.Module):
    """Three convolutions with BatchNorm; a residual network compiles ten times as long."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train=True):
        for i, (width, stride) in enumerate([(16, 2), (32, 2), (32, 1)]):
            x = Conv(width, 3, stride, dtype=self.dtype, name=f"conv{i}")(x)
            x = nn.relu(batch_norm(train, self.dtype, 0.9, f"bn{i}")(x))
        return feature_maps({"stage1": x, "stage2": x})


def pairs():
    """CI takes one case of each task."""
    return [
        pytest.param(
            name,
            case,
            marks=pytest.mark.slow if len(shape) - 2 == min(task.ranks) else pytest.mark.long,
        )
        for name, task in TASKS.items()
        for case, shape in CASES.items()
        if len(shape) - 2 in task.ranks
    ]


def test_every_task_has_the_bounds_of_the_document():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    rows = [
        f"| `{name}` | {' | '.join(f'{bound:g}' for bound in BOUNDS[name])} |" for name in TASKS
    ]
    assert "\n".join(rows) in text and BOUNDS.keys() == TASKS.keys()


@pytest.mark.parametrize("name, case", pairs())
def test_stays_within_its_bounds(make, objective, name, case):
    images = np.random.default_rng(0).integers(0, 256, CASES[case], dtype=np.uint8)
    task = small_task(name, rank=3)
    batch = make(task, images)
    wide, narrow = Small(), Small(dtype=jnp.bfloat16)
    variables, loss = objective(task, batch, wide)
    _, narrow_loss = objective(task, batch, narrow)

    def measure(variables, batch):
        found = [jax.value_and_grad(f, has_aux=True)(variables, batch) for f in (loss, narrow_loss)]
        values = jnp.stack([value for (value, _), _ in found])
        trees = [{k: v["params"] for k, v in grads.items()} for _, grads in found]
        flat = [jnp.concatenate([g.ravel() for g in jax.tree.leaves(tree)]) for tree in trees]
        return values, jnp.stack(flat)

    values, grads = jax.device_get(jax.jit(measure)(variables, batch))
    norms = np.linalg.norm(grads, axis=1)
    found = (
        abs(values[1] / values[0] - 1),
        abs(norms[1] / norms[0] - 1),
        1 - np.prod(grads / norms[:, None], axis=0).sum(),
    )
    assert values[0] != values[1] and (grads[0] != grads[1]).any()  # it was not float32 twice
    assert (np.asarray(found) <= BOUNDS[name]).all(), found
