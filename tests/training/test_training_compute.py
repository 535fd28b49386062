"""Floating-point operations of a step, against counts by hand."""

import numpy as np

from assl_jax.tasks.distillation import Distillation
from assl_jax.training.compute import step_flops


def test_a_step_by_hand(toy):
    """A convolution with stride 2 from 1 to 4 channels on 8x8, and a linear head of one output."""
    convolution = 2 * (8 * 4 * 4) * 4 * 9
    head = 2 * 8 * 4
    shape, kind = (8, 8, 8, 1), np.dtype("uint8")
    task = toy.pool["brightness"]
    assert step_flops(toy.backbone, task, shape, kind) == 3 * (convolution + head)
    # Each frozen network sees the inputs once more.
    assert step_flops(toy.backbone, task, shape, kind, 2) == 3 * (convolution + head) + (
        2 * convolution
    )
    # A projector for each teacher: 4 features to 8, and 8 to the teacher's 5.
    projector = 2 * 8 * (4 * 8 + 8 * 5)
    distilled = Distillation(task=task, widths=(5, 5))
    assert step_flops(toy.backbone, distilled, shape, kind) == 3 * (
        convolution + head + 2 * projector
    )
