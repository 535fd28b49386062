"""Self-ASSL in a small study: what is trained, from where, and what is compared."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assl_jax.strategies.evaluating import Evaluating
from assl_jax.strategies.network import SCRATCH, Network

from assl_jax.errors import InputError
from assl_jax.evaluation.export import load_model
from assl_jax.evaluation.features import features
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.evaluation.uncertainty import paired_difference
from assl_jax.lcka import linear_cka
from assl_jax.models import SideBySide
from assl_jax.objectives.penalty import Penalty
from assl_jax.strategies import mtassl
from assl_jax.strategies.self_assl import compare, difference
from assl_jax.strategies.settings import SearchSettings, SecondRun
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.metrics_log import MetricsLog

SECOND = SecondRun(penalty=Penalty(weight=2.0, standardise="features"), init_from="scratch")
POOL = ("src", "rotation")
PLAIN, AWAY = Network(("rotation",)), Network(("rotation",), SECOND)
CONTROL = Network(("rotation",), SECOND.control())


def params(study, network):
    return study.pretraining.load(study.pretraining.run(network))["params"]


def same_stage(stage_of, a, b):
    return stage_of(a).folder == stage_of(b).folder


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


@pytest.mark.slow
def test_the_whole_comparison(make_study, steps_taken):
    study = make_study(folds=0)
    pools = [("src",), ("rotation",), POOL]
    results = compare([study], pools=pools, second=SECOND, control=True).self_assl
    assert results.settings["weight"] == 2.0 and results.settings["use"] == "f_prime"
    (backbone,) = results.backbones
    assert backbone.backbone == "tiny"
    assert [row.pool for row in backbone.rows] == pools
    assert len(steps_taken) == 9 * 4 + 10 * 2 * 2
    row = backbone.rows[1]
    assert row.second_run is not None
    gained = row.self_assl.accuracy.mean - row.plain.accuracy.mean
    assert row.difference.mean == pytest.approx(gained)
    assert row.difference.low <= row.difference.mean <= row.difference.high

    # The guards, from features computed here.
    setup = study.setup
    held_out = setup.plain_images.rows["held_out"]
    x, y = (
        features(
            setup.backbone,
            study.pretraining.load(study.pretraining.run(network)),
            setup.images,
            held_out,
            intensity=setup.dataset.intensity,
        )
        for network in (PLAIN, AWAY)
    )
    assert set(held_out) <= set(setup.dataset.test) and len(held_out) == 20
    assert row.similarity["self_assl"] == pytest.approx(float(linear_cka(x, y)), abs=1e-5)
    assert row.effective_rank["self_assl"] == pytest.approx(effective_rank(y), abs=1e-2)
    assert set(row.similarity) == {"second_run", "self_assl"}
    assert set(row.untrained) == {"plain", "second_run", "self_assl"}
    labels = {network.label: network.variant for network in study.record()}
    assert labels["rotation.self_assl"] == "self_assl" and labels["scratch"] == "scratch"
    assert labels["rotation+src.second_run"] == "second_run"

    # Finished work is read, by this and by the other strategies.
    steps_taken.clear()
    later = compare([make_study(folds=0)], pools=pools, second=SECOND, control=True)
    assert later.self_assl == results
    settings = SearchSettings(select_on="test")
    mtassl.search(make_study(folds=0), tasks=POOL, settings=settings)
    assert not steps_taken


@pytest.mark.slow
def test_several_backbones_share_what_one_has_done(make_study, steps_taken):
    mtassl.single(make_study(folds=0, seeds=1), pool=("rotation",))
    steps_taken.clear()
    wide = make_study().setup.backbone.clone(features=8)
    studies = [
        make_study(folds=0, seeds=1, prefix="tiny"),
        make_study(
            folds=0, seeds=1, prefix="wide", backbone=wide, backbone_settings={"name": "wide"}
        ),
    ]
    results = compare(studies, pools=[("rotation",)], second=SECOND, control=False)
    assert [b.backbone for b in results.self_assl.backbones] == ["tiny", "wide"]
    assert steps_taken.count("rotation") == 3 * 4 and steps_taken.count("target") == 4 * 2
    labels = [network.label for study in studies for network in study.record()]
    assert labels[1:3] == ["tiny/rotation", "tiny/rotation.self_assl"]
    assert "wide/scratch" in labels
    shown = {stage.label for stage in studies[0].setup.stages.finished}
    assert shown == {"tiny/scratch", "tiny/rotation", "tiny/rotation.self_assl"}


@pytest.mark.slow
def test_without_weight_a_second_run_is_a_plain_one(make_study):
    study = make_study(folds=0, seeds=1)
    assert CONTROL.label == "rotation.second_run"
    other = dataclasses.replace(SECOND, penalty=Penalty(weight=0.0, queue=8, sign="as_printed"))
    assert same_stage(study.pretraining.run, CONTROL, Network(PLAIN.pool, other))
    assert not equal(params(study, PLAIN), params(study, CONTROL))  # other random numbers
    assert not equal(params(study, CONTROL), params(study, AWAY))
    # The same numbers: with hardly any weight it is nearly the control.
    faint = SecondRun(penalty=Penalty(weight=1e-6), init_from="scratch")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3),
        params(study, CONTROL),
        params(study, Network(PLAIN.pool, faint)),
    )


@pytest.mark.slow
def test_from_f_p_it_starts_at_the_first_networks_weights(make_study, monkeypatch):
    from assl_jax.strategies import pretraining as module

    study = make_study(folds=0, seeds=1)
    began = {}
    real = module.fit

    def fit(state, *about, **more):
        began["state"] = jax.tree.map(np.asarray, (state.params, state.batch_stats))
        began["frozen"], began["adam"] = more["frozen"]["first"], state.opt_state
        return real(state, *about, **more)

    first = study.pretraining.run(PLAIN)
    monkeypatch.setattr(module, "fit", fit)
    study.pretraining.run(Network(PLAIN.pool, dataclasses.replace(SECOND, init_from="f_p")))
    checkpoints = Checkpoints(first.folder / "checkpoints")
    task, training = study.setup.tasks["rotation"], study.pretraining.settings.training
    like = study.pretraining.fresh(jax.random.key(0), task, training)
    last = checkpoints.restore(like, study.setup.images.mesh)
    checkpoints.close()
    assert equal(began["state"], (last.params, last.batch_stats))  # its head too
    # The frozen network keeps the running statistics of the proxy task's inputs.
    assert equal(began["frozen"]["batch_stats"], last.batch_stats)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(began["adam"]))
    study.pretraining.run(AWAY)
    assert not equal(began["state"], (last.params, last.batch_stats))


@pytest.mark.slow
def test_both_networks_side_by_side(make_study):
    study = make_study(folds=0, seeds=1)
    both = Network(PLAIN.pool, dataclasses.replace(SECOND, use="both"))
    assert same_stage(study.pretraining.run, both, AWAY)  # only fine-tuning differs
    assert not same_stage(study.evaluating.finetune, both, AWAY)
    variables = study.evaluating._pretrained(both)
    backbone, dataset = study.setup.backbone, study.setup.dataset
    images = dataset.intensity(jnp.asarray(dataset.images[:5]))
    joined = SideBySide(backbone, 2).apply(variables, images)
    load, run = study.pretraining.load, study.pretraining.run
    each = [backbone.apply(load(run(n)), images) for n in (PLAIN, AWAY)]
    for name in ("stage1", "pooled"):
        expected = jnp.concatenate([maps[name] for maps in each], -1)
        np.testing.assert_allclose(joined[name], expected, rtol=1e-5)
    assert study.evaluating.probabilities(both)[0].shape == (20, 2)


@pytest.mark.slow
def test_the_exported_pair_loads(make_study):
    study = make_study(folds=0, seeds=1)
    both = Network(PLAIN.pool, dataclasses.replace(SECOND, use="both"))
    stage = study.evaluating.finetune(both)
    dataset = study.setup.dataset
    model = load_model(stage.folder)
    assert tuple(model.classes) == ("a", "b") and isinstance(model.backbone, SideBySide)
    images = model.intensity(jnp.asarray(dataset.images[dataset.test]))
    pooled = model.backbone.apply(model.variables, images)["pooled"]
    predicted = (pooled @ model.kernel + model.bias[None]).argmax(-1)
    accuracy = (predicted == dataset.labels[dataset.test]).mean()
    assert stage.record.result.evaluation.accuracy.runs == (pytest.approx(accuracy),)


@pytest.mark.slow
def test_what_is_logged_over_training(make_study):
    study = make_study(folds=0, seeds=1)
    records = MetricsLog(study.pretraining.run(AWAY).folder).read()
    seen = [r for r in records if r.task == "held_out"]
    assert [r.step for r in seen] == [0, 1, 2, 3, 4]
    for record in seen:
        values = record.values
        assert 0 <= values["similarity_to_frozen"] <= 1 and values["effective_rank"] >= 0
        assert 0 <= values["similarity_to_untrained"] <= 1
    trained = [r for r in records if r.task == "rotation"]
    assert {"penalty", "similarity", "proxy_loss"} <= set(trained[0].values)
    # The control is observed too; the first run has nothing to be compared with.
    control = MetricsLog(study.pretraining.run(CONTROL).folder).read()
    assert any(r.task == "held_out" for r in control)
    assert "penalty" not in control[-1].values
    first = MetricsLog(study.pretraining.run(PLAIN).folder).read()
    watched = [set(r.values) for r in first if r.task == "held_out"]
    assert watched == [{"effective_rank", "knn_accuracy"}] * 5


def test_difference_by_hand(make_study, monkeypatch):
    study = make_study()
    dataset = study.setup.dataset
    truth = dataset.labels[dataset.test]
    wrong = 1 - truth
    before = [np.eye(2)[wrong], np.eye(2)[truth]]  # 0 and 1
    half = np.where(np.arange(20) < 10, truth, wrong)
    after = [np.eye(2)[half], np.eye(2)[truth]]  # 1/2 and 1
    told = {PLAIN: before, AWAY: after}
    monkeypatch.setattr(Evaluating, "probabilities", lambda self, network: told[network])
    found = difference(study, PLAIN, AWAY)
    assert found.mean == 0.25 and found.std == pytest.approx(0.5 / 2**0.5)
    assert 0 < found.low < 0.25 < found.high < 0.5
    assert difference(study, AWAY, PLAIN).mean == -0.25


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "auc"])
def test_gain_over_scratch_by_hand(make_study, monkeypatch, metric):
    study = make_study(metric=metric)
    dataset = study.setup.dataset
    truth = dataset.labels[dataset.test]
    # Half of the images of each class are right, in the second run all of them.
    rank = np.array([(truth[:i] == k).sum() for i, k in enumerate(truth)])
    sizes = np.bincount(truth)[truth]
    half = np.where(2 * rank < sizes, truth, 1 - truth)
    told = {SCRATCH: [np.eye(2)[half]] * 2, PLAIN: [np.eye(2)[half], np.eye(2)[truth]]}
    monkeypatch.setattr(Evaluating, "probabilities", lambda self, network: told[network])
    found = study.evaluating.over_scratch(PLAIN)
    gained = 1 - (half == truth).mean()  # of the second run; the AUC of halves is 1/2 too
    assert found.runs == pytest.approx((0, gained), abs=1e-9)
    assert found.low < found.mean < found.high
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    one_class = np.where(dataset.labels >= 0, 0, dataset.labels)
    if metric == "auc":
        blind = dataclasses.replace(dataset, labels=one_class.astype(np.int32))
        assert make_study(dataset=blind, metric="auc").evaluating.over_scratch(PLAIN) is None


def test_paired_interval():
    """Patients, not images, are drawn; a gain that all share has no spread."""
    same = paired_difference(np.full(40, 0.25), np.arange(40))
    assert same == (0.25, 0.25)
    gained = np.repeat([0.5, -0.5], 20)
    images = paired_difference(gained, np.arange(40))
    patients = paired_difference(gained, np.arange(40) // 5)  # eight of them
    assert images[0] < 0 < images[1]
    assert patients[1] - patients[0] > 1.8 * (images[1] - images[0])


@pytest.mark.parametrize("settings", [{"init_from": "fp"}, {"use": "f_p"}])
def test_bad_settings(settings):
    with pytest.raises(InputError, match=f"self_assl.{next(iter(settings))}"):
        SecondRun(**settings)


def test_an_unknown_layer_is_found_before_anything_is_written(make_study):
    with pytest.raises(InputError, match="self_assl.layer='stage9'"):
        make_study().check(Penalty(layer="stage9"))
    assert SCRATCH.variant == "scratch"
