"""A network that diverged after its last checked step reaches no table, and is named."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.strategies.network import SCRATCH
from assl_jax.strategies.pretraining import Pretraining


def spoil(tree):
    return jax.tree.map(lambda a: np.full(a.shape, np.nan, a.dtype), tree)


def finished(study):
    return sorted(p.name for p in study.setup.stages.folder.glob("*/*") if p.suffix == ".npy")


@pytest.mark.parametrize("prefix", ["", "vgg16"])
def test_features(make_study, monkeypatch, prefix):
    study = make_study(prefix=prefix, similarity={"reestimate_bn": False})
    own = Pretraining.untrained
    monkeypatch.setattr(Pretraining, "untrained", lambda self: spoil(own(self)))
    label = f"{prefix}/scratch" if prefix else "scratch"
    for call in (
        lambda: study.comparing.similarities([SCRATCH]),
        lambda: study.comparing.effective_rank(SCRATCH),
        lambda: study.comparing.probe_loss([SCRATCH]),
    ):
        with pytest.raises(InputError, match=f"^network {label} has features that are not finite"):
            call()
    assert not finished(study)
    assert not list(study.setup.stages.folder.glob("*/done.json"))


def test_a_fine_tuned_head(make_study, monkeypatch):
    study = make_study()

    def diverged(state, **more):
        return state._replace(params={**state.params, "heads": spoil(state.params["heads"])})

    monkeypatch.setattr("assl_jax.evaluation.finetune.fit", diverged)
    with pytest.raises(InputError, match="^network scratch has weights of its linear head"):
        study.evaluating.finetune(SCRATCH)
    assert not finished(study)
    assert not list(study.setup.stages.folder.glob("*/done.json"))
