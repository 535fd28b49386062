"""Self-ASSL in a small study: what is trained, from where, and what is compared."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_studies import make_lab

from assl_jax.evaluation.export import load_model
from assl_jax.evaluation.features import features
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.lcka import linear_cka
from assl_jax.models import SideBySide
from assl_jax.objectives.penalty import Penalty
from assl_jax.records import SCRATCH, Network
from assl_jax.store import LocalStore
from assl_jax.strategies import mtassl, pretraining
from assl_jax.strategies.computing import stages_of
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.finetuning import finetune, predictions
from assl_jax.strategies.scheduler import Scheduler
from assl_jax.strategies.self_assl import compare, difference, networks_of
from assl_jax.strategies.settings import SearchSettings, SecondRun
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.metrics_log import MetricsLog

SECOND = SecondRun(penalty=Penalty(weight=2.0, standardise="features"), init_from="scratch")
POOLS = [("src",), ("rotation",), ("src", "rotation")]
PLAIN = Network(tasks=("rotation",))
CONTROL = PLAIN.replace(objective="second_run", teachers=(PLAIN,))
AWAY = CONTROL.replace(objective="self_assl")
BOTH = Network(objective="side_by_side", teachers=(PLAIN, AWAY))
SMALL = {"folds": 0, "seeds": 1}


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def comparison(*labs, pools=POOLS, control=True):
    plan = compare([lab.evidence for lab in labs], pools=pools, second=SECOND, control=control)
    return labs[0].carry_out(plan).self_assl


@pytest.mark.parametrize("init_from, start", [("scratch", None), ("f_p", PLAIN)])
def test_the_networks_of_a_row(lab, init_from, start):
    study, pool = lab().study, ("rotation",)
    second = dataclasses.replace(SECOND, init_from=init_from)
    rows = networks_of(study, pool, second, control=True)
    assert rows == {
        "plain": PLAIN,
        "second_run": CONTROL.replace(start=start),
        "self_assl": AWAY.replace(start=start),
    }
    assert [n.label for n in rows.values()] == [
        *("rotation", "rotation.second_run", "rotation.self_assl")
    ]
    both = networks_of(study, pool, dataclasses.replace(SECOND, use="both"), control=False)
    assert both == {"plain": PLAIN, "self_assl": BOTH}
    # Without weight it is a plain second run, whatever the other settings are.
    none = dataclasses.replace(SECOND, penalty=Penalty(weight=0.0, queue=8, sign="as_printed"))
    assert networks_of(study, pool, none, control=False)["self_assl"] == CONTROL


@pytest.mark.slow
def test_the_whole_comparison(lab, steps_taken):
    tiny = lab(folds=0)
    results = comparison(tiny)
    assert results.settings["weight"] == 2.0 and results.settings["use"] == "f_prime"
    (backbone,) = results.backbones
    assert backbone.backbone == "tiny" and [row.pool for row in backbone.rows] == POOLS
    assert len(steps_taken) == 9 * 4 + 10 * 2 * 2
    row = backbone.rows[1]
    assert row.second_run is not None
    gained = row.self_assl.accuracy.mean - row.plain.accuracy.mean
    assert row.difference.mean == pytest.approx(gained)
    assert row.difference.low <= row.difference.mean <= row.difference.high

    # The guards, from features computed here.
    study, held_out = tiny.study, tiny.study.plain_images.rows["held_out"]
    x, y = (
        features(
            study.backbone,
            tiny.variables(network),
            study.images,
            held_out,
            intensity=study.dataset.intensity,
        )
        for network in (PLAIN, AWAY)
    )
    assert set(held_out) <= set(study.dataset.test) and len(held_out) == 20
    assert row.similarity["self_assl"] == pytest.approx(float(linear_cka(x, y)), abs=1e-5)
    assert row.effective_rank["self_assl"] == pytest.approx(effective_rank(y), abs=1e-2)
    assert set(row.similarity) == {"second_run", "self_assl"}
    assert set(row.untrained) == {"plain", "second_run", "self_assl"}
    networks = {record.label: record.network for record in tiny.evidence.record()}
    assert networks["rotation.self_assl"] == AWAY and networks["scratch"] == SCRATCH
    assert networks["rotation+src.second_run"].members == ("rotation", "src")

    # Finished work is read, by this and by the other strategies.
    steps_taken.clear()
    assert comparison(lab(folds=0)) == results
    lab(folds=0).search(SearchSettings(select_on="test", as_printed=True))
    assert not steps_taken


@pytest.mark.slow
def test_several_backbones_share_what_one_has_done(lab, tmp_path, steps_taken):
    first = lab(**SMALL)
    first.carry_out(mtassl.single(first.evidence, PLAIN))
    steps_taken.clear()
    wide = {"backbone": first.study.backbone.clone(features=8)}
    wide["backbone_settings"] = {"name": "wide"}
    studies = [
        make_lab(tmp_path, **SMALL, **more).study
        for more in ({"prefix": "tiny"}, {"prefix": "wide", **wide})
    ]
    stages = stages_of(studies, LocalStore(first.folder))
    found = [Evidence(study, stages) for study in studies]
    plan = compare(found, pools=[("rotation",)], second=SECOND, control=False)
    results = Scheduler(stages).carry_out(plan)
    assert [b.backbone for b in results.self_assl.backbones] == ["tiny", "wide"]
    assert steps_taken.count("rotation") == 3 * 4 and steps_taken.count("target") == 4 * 2
    labels = [network.label for each in found for network in each.record()]
    own = ("scratch", "rotation", "rotation.self_assl")
    assert labels == [f"{name}/{label}" for name in ("tiny", "wide") for label in own]


@pytest.mark.slow
def test_a_second_run_has_other_random_numbers_and_the_penalty_none_of_its_own(lab):
    tiny = lab(**SMALL)
    plain, control, away = (tiny.params(n) for n in (PLAIN, CONTROL, AWAY))
    assert not equal(plain, control) and not equal(control, away)
    # With hardly any weight it is nearly the control.
    faint = lab(**SMALL, penalty=Penalty(weight=1e-6, standardise="features"))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), control, faint.params(AWAY)
    )


@pytest.mark.slow
def test_a_joint_pool_is_joint_in_its_second_run_too(lab, steps_taken):
    tiny = lab(**SMALL, mixing="joint")
    for network in networks_of(tiny.study, POOLS[2], SECOND, control=True).values():
        tiny.pretrain(network)
    assert steps_taken == ["joint"] * 12


@pytest.mark.slow
def test_from_f_p_it_starts_at_the_first_networks_weights(lab, fits):
    tiny = lab(**SMALL)
    stage = tiny.pretrain(PLAIN)
    tiny.pretrain(AWAY.replace(start=PLAIN))
    checkpoints = Checkpoints(stage.folder / "checkpoints")
    like = pretraining.fresh(tiny.study, tiny.study.tasks["rotation"], jax.random.key(0))
    last = checkpoints.restore(like, tiny.study.images.mesh)
    checkpoints.close()
    began = fits[-1].state
    assert equal((began.params, began.batch_stats), (last.params, last.batch_stats))  # its head too
    # The frozen network keeps the running statistics of the proxy task's inputs.
    assert equal(fits[-1].frozen["first"], last.variables)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(began.opt_state))
    tiny.pretrain(AWAY)
    assert not equal(fits[-1].state.params, last.params)
    assert equal(fits[-1].frozen["first"], last.variables)


@pytest.mark.slow
def test_both_networks_side_by_side(lab):
    tiny = lab(**SMALL)
    both, alone = (finetune(tiny.study, network, 1e-3) for network in (BOTH, AWAY))
    assert {parent.network for parent in both.parents} == {PLAIN, AWAY} and both != alone
    stage, dataset = tiny.run(both), tiny.study.dataset
    assert len(list(tiny.folder.glob("pretrain-*"))) == 2  # only fine-tuning differs
    # The start of the fine-tuning: the features of both.
    variables = SideBySide.gather(*(tiny.variables(n) for n in (PLAIN, AWAY)))
    images = dataset.intensity(jnp.asarray(dataset.images[:5]))
    backbone = tiny.study.backbone
    joined = SideBySide(backbone, 2).apply(variables, images)
    each = [backbone.apply(tiny.variables(n), images) for n in (PLAIN, AWAY)]
    for name in ("stage1", "pooled"):
        expected = jnp.concatenate([maps[name] for maps in each], -1)
        np.testing.assert_allclose(joined[name], expected, rtol=1e-5)
    # The exported pair loads, and predicts what the stage holds.
    model = load_model(stage.folder)
    assert tuple(model.classes) == ("a", "b") and isinstance(model.backbone, SideBySide)
    images = model.intensity(jnp.asarray(dataset.images[dataset.test]))
    pooled = model.backbone.apply(model.variables, images)["pooled"]
    logits = pooled @ model.kernel + model.bias[None]
    (found,) = predictions(stage)
    np.testing.assert_allclose(jax.nn.softmax(logits), found, atol=1e-5)


@pytest.mark.slow
def test_what_is_logged_over_training(lab):
    tiny = lab(**SMALL)
    first, control, away = (
        MetricsLog(stage.folder).read() for stage in tiny.pretrain(PLAIN, CONTROL, AWAY)
    )
    seen = [r for r in away if r.task == "held_out"]
    assert [r.step for r in seen] == [0, 1, 2, 3, 4]
    for values in (record.values for record in seen):
        assert 0 <= values["similarity_to_frozen"] <= 1 and values["effective_rank"] >= 0
        assert 0 <= values["similarity_to_untrained"] <= 1
    trained = [r for r in away if r.task == "rotation"]
    assert {"penalty", "similarity", "proxy_loss"} <= set(trained[0].values)
    # The control is observed too; the first run has nothing to be compared with.
    assert any(r.task == "held_out" for r in control)
    assert "penalty" not in control[-1].values
    watched = [set(r.values) for r in first if r.task == "held_out"]
    assert watched == [{"effective_rank", "knn_accuracy"}] * 5


def test_difference_by_hand(lab, monkeypatch):
    found = lab().evidence
    dataset = found.study.dataset
    truth = dataset.labels[dataset.test]
    wrong = 1 - truth
    before = [np.eye(2)[wrong], np.eye(2)[truth]]  # 0 and 1
    half = np.where(np.arange(20) < 10, truth, wrong)
    after = [np.eye(2)[half], np.eye(2)[truth]]  # 1/2 and 1
    told = {PLAIN: before, AWAY: after}
    monkeypatch.setattr(Evidence, "probabilities", lambda self, network: told[network])
    gain = difference(found, PLAIN, AWAY)
    assert gain.mean == 0.25 and gain.std == pytest.approx(0.5 / 2**0.5)
    assert 0 < gain.low < 0.25 < gain.high < 0.5
    assert difference(found, AWAY, PLAIN).mean == -0.25
