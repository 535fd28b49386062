"""Images without any label: they pretrain a network, and nothing else."""

import dataclasses

import numpy as np
import pytest

from assl_jax.objectives.penalty import Penalty
from assl_jax.strategies.mtassl import single
from assl_jax.strategies.network import Network
from assl_jax.strategies.plan import planned


@pytest.mark.slow
def test_a_pool_is_pretrained_only(make_study):
    labelled = make_study().setup.dataset
    dataset = dataclasses.replace(
        labelled,
        labels=np.full(60, -1, np.int32),
        class_names=(),
        unlabeled=np.arange(60),
        labelled_sets=(),
        test=np.arange(0),
    )
    study = make_study(dataset=dataset)
    study.check(Penalty())
    (work,) = planned(study, [Network(("rotation",))])
    assert work.title == "pretrain rotation"
    found = single(study, pool=("rotation",))
    assert found.pretrained == ("rotation",)
    assert found.best is None and found.scratch is None
    (stage,) = study.setup.stages.finished
    assert (stage.folder / "backbone" / "backbone.json").exists()
    # The effective rank is then that of images which the pretraining sees.
    assert study.comparing.effective_rank(Network(("rotation",))) > 1
