"""Pretrainings that begin with given weights, and the same weights without pretraining."""

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from assl_jax.records import Findings
from assl_jax.strategies.mtassl import single
from assl_jax.strategies.network import SCRATCH, START, Network
from assl_jax.strategies.setup import Given
from assl_jax.training.checkpoint import tree_digest

ROTATION = Network(("rotation",))


def start_of(drawn, study, shift=0.0):
    variables = drawn(study.setup.backbone.init, jnp.zeros((1, 16, 16, 1)))
    variables["params"] = jax.tree.map(lambda a: a + np.float32(shift), variables["params"])
    return Given(variables=variables, digest=tree_digest(variables).hex())


def test_the_digest_is_that_of_the_content():
    a = {"params": {"x": np.zeros(2, np.float32)}}
    same = {"params": {"x": np.zeros(2, np.float32)}}
    assert tree_digest(a) == tree_digest(same)
    for other in (
        {"params": {"y": np.zeros(2, np.float32)}},
        {"params": {"x": np.zeros((1, 2), np.float32)}},
        {"params": {"x": np.array([0, 1e-30], np.float32)}},
    ):
        assert tree_digest(a) != tree_digest(other)


def test_labels():
    assert (START.label, START.variant, START.has_weights) == ("start", "start", True)
    assert (SCRATCH.label, SCRATCH.variant, SCRATCH.has_weights) == ("scratch", "scratch", False)


def test_without_start_weights_nothing_is_written_about_them():
    written = msgspec.json.encode(Findings())
    assert b"start" not in written
    assert not msgspec.json.decode(written, type=Findings).start


@pytest.mark.slow
def test_training_and_evaluation_begin_with_them(make_study, drawn, monkeypatch):
    from assl_jax.strategies import pretraining as module

    plain = make_study(folds=0, seeds=1)
    before = {n.label: plain.evaluating.finetune(n).settings_key for n in (SCRATCH, ROTATION)}
    start = start_of(drawn, plain)
    begun, real = [], module.fit

    def fit(state, *about, **settings):
        begun.append(jax.tree.map(np.asarray, state.params["backbone"]))
        return real(state, *about, **settings)

    monkeypatch.setattr(module, "fit", fit)
    study = make_study(folds=0, seeds=1, start=start)
    findings = single(study, pool=ROTATION.pool)
    jax.tree.map(np.testing.assert_array_equal, begun[0], start.variables["params"])
    # From scratch is the same work as without start weights; the pretraining is another.
    assert study.evaluating.finetune(SCRATCH).settings_key == before["scratch"]
    assert study.evaluating.finetune(ROTATION).settings_key != before["rotation"]
    assert findings.start == study.evaluate(START)
    # What is fine-tuned as START has the given weights and the running statistics of plain images.
    given = study.pretraining.load(study.pretraining.run(START))
    jax.tree.map(np.testing.assert_array_equal, given["params"], start.variables["params"])
    fitted = study.setup.plain_images.fit(start.variables)
    jax.tree.map(np.testing.assert_array_equal, given["batch_stats"], fitted["batch_stats"])
    # An untrained network stays random, other weights make other stages.
    untrained = study.pretraining.untrained()["params"]["conv"]["kernel"]
    assert not np.array_equal(untrained, start.variables["params"]["conv"]["kernel"])
    other = make_study(folds=0, seeds=1, start=start_of(drawn, plain, 0.1))
    assert other.pretraining.run(START).folder != study.pretraining.run(START).folder
    assert [n.variant for n in study.record()] == ["plain", "scratch", "start"]
    assert study.record()[2].pretrain.startswith("start-start-")
    assert study.pretraining.cost(START) == 0.0
