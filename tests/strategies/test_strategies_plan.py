"""The plan: what is to be done, counted by hand, and what is finished."""

import pytest

from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.plan import pace, planned

ROTATION = Network(("rotation",))


def test_what_a_study_begins_with(make_study):
    study = make_study(seeds=2, folds=2, steps=4)
    scratch, pretrain, finetune = planned(study, [ROTATION])
    assert [work.title for work in (scratch, pretrain, finetune)] == [
        "fine-tune scratch",
        "pretrain rotation",
        "fine-tune rotation",
    ]
    # Two seeds on all labels and two folds, of 2 steps each.
    assert (scratch.steps, pretrain.steps, finetune.steps) == (8, 4, 8)
    assert pretrain.flops == 4 * study.pretraining.mixing.flops_of_a_step(ROTATION)
    # A step on 8 images: a convolution of 3x3 to 6 channels at 8x8 positions, a head of 2 classes,
    # forward and both gradients. Then the predictions: 2 times 20 test images, 2 folds of 8.
    image = 2 * (9 * 6 * 64 + 6 * 2)
    assert scratch.flops == finetune.flops == image * (3 * 8 * 8 + 2 * 20 + 2 * 8)
    assert not any(work.finished for work in (scratch, pretrain, finetune))
    assert not list(study.setup.stages.folder.glob("*"))


def test_the_choice_of_a_learning_rate_is_planned(make_study):
    # Two seeds on all labels, two folds for each of three rates, and two folds for the selection.
    (scratch,) = planned(make_study(learning_rates=(1e-4, 1e-3, 1e-2)), [])
    assert scratch.steps == 2 * (2 + 3 * 2 + 2)
    (scratch,) = planned(make_study(learning_rates=(1e-4, 1e-3), selects=False), [])
    assert scratch.steps == 2 * (2 + 2 * 2)


def test_parts_are_only_pretrained(make_study):
    works = planned(make_study(), [Network(("rotation", "src"))], [ROTATION])
    assert [work.title for work in works] == [
        "fine-tune scratch",
        "pretrain rotation",
        "pretrain rotation+src",
        "fine-tune rotation+src",
    ]


def test_at_a_rung_a_part_is_pretrained_and_nothing_is_tested(make_study):
    study = make_study(folds=3, steps=8, rungs=(0.25,))
    _, pretrain, finetune = planned(study, [Network(("rotation",), share=0.25)])
    assert (pretrain.title, pretrain.steps) == ("pretrain rotation, 25 % of its pretraining", 2)
    assert pretrain.flops == 2 * study.pretraining.mixing.flops_of_a_step(ROTATION)
    assert finetune.steps == 3 * 2
    # To look for an earlier rung computes nothing.
    later = make_study(folds=3, steps=8, rungs=(0.25, 0.5))
    assert not any(work.finished for work in planned(later, [Network(("rotation",), share=0.5)]))
    assert not list(later.setup.stages.folder.glob("*"))


@pytest.mark.slow
def test_what_is_finished(make_study):
    study = make_study()
    study.evaluate(SCRATCH)
    study.pretraining.run(ROTATION)
    finished = list(study.setup.stages.finished)
    assert [work.finished for work in planned(study, [ROTATION])] == [True, True, False]
    study.evaluating.finetune(ROTATION)  # the cross-validation is missing
    assert not planned(study, [ROTATION])[-1].finished
    study.evaluate(ROTATION)
    assert all(work.finished for work in planned(study, [ROTATION]))
    again = make_study()
    assert all(work.finished for work in planned(again, [ROTATION]))
    assert again.setup.stages.finished == []
    assert study.setup.stages.finished[: len(finished)] == finished


def test_the_pace_of_this_machine(make_study):
    found = pace(make_study())
    assert found.flops_per_s > 0
    assert found.host_bytes > 2**20
    assert found.device_bytes is None
