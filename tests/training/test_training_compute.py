"""Floating-point operations of a step, against counts by hand."""

import jax
import numpy as np

from assl_jax.objectives.distilled import Distilled
from assl_jax.objectives.joint import Joint
from assl_jax.objectives.penalised import Penalised
from assl_jax.objectives.penalty import Penalty
from assl_jax.training.compute import step_flops


def test_a_step_by_hand(toy):
    """A convolution with stride 2 from 1 to 4 channels, and a linear head of one output."""

    def flops(objective):
        images = jax.ShapeDtypeStruct((8, 8, 8, 1), np.uint8)
        return step_flops(toy.backbone, objective, images)

    large, small = (2 * (8 * side * side) * 4 * 9 for side in (4, 3))  # of 8x8, and of 6x6 pixels
    head = 2 * 8 * 4
    assert flops(toy.brightness) == 3 * (large + head)
    assert flops(toy.pool) == 3 * ((large + small) / 2 + head)
    assert flops(Joint(toy.pool.parts)) == flops(toy.pool)  # each on half of the batch
    # A frozen network sees the inputs once more.
    penalised = Penalised(part=toy.brightness, penalty=Penalty())
    assert flops(penalised) == 3 * (large + head) + large
    # A projector for each teacher: 4 features to 8, and 8 to the teacher's 5.
    projector = 2 * 8 * (4 * 8 + 8 * 5)
    distilled = Distilled(part=toy.brightness, widths=(5, 5))
    assert flops(distilled) == 3 * (large + head + 2 * projector) + 2 * large
