"""Self-ASSL in a small study: what is trained, from where, and what is compared."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.export import load_model
from assl_jax.evaluation.features import features
from assl_jax.evaluation.scores import paired_difference
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.lcka import linear_cka
from assl_jax.models import SideBySide, make_backbone
from assl_jax.strategies import mtassl
from assl_jax.strategies.check import check
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.self_assl import compare, difference
from assl_jax.strategies.settings import SecondRun
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.penalty import Penalty

AGAIN = SecondRun(penalty=Penalty(weight=2.0, standardise="features"))
POOL = ("src", "rotation")
FIRST, AWAY = Network(("rotation",)), Network(("rotation",), AGAIN)
CONTROL = Network(("rotation",), AGAIN.control())


def params(study, network):
    return study.load(study.pretrain(network))["params"]


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def test_the_whole_comparison(make_study, steps_taken):
    study = make_study(folds=0)
    pools = [("src",), ("rotation",), POOL]
    results = compare([study], pools=pools, again=AGAIN, second_run=True)["self_assl"]
    assert results["settings"]["weight"] == 2.0 and results["settings"]["use"] == "f_prime"
    (backbone,) = results["backbones"]
    assert backbone["backbone"] == "tiny"
    assert [tuple(row["pool"]) for row in backbone["rows"]] == pools
    assert len(steps_taken) == 9 * 4 + 10 * 2 * 2
    row = backbone["rows"][1]
    entry = {"accuracy", "std", "runs", "metrics", "confusion", "selection", "selection_std"}
    assert set(row["plain"]) == set(row["second_run"]) == set(row["self_assl"]) == entry
    gained = row["self_assl"]["accuracy"] - row["plain"]["accuracy"]
    assert row["difference"]["mean"] == pytest.approx(gained, abs=1e-6)
    assert row["difference"]["low"] <= row["difference"]["mean"] <= row["difference"]["high"]

    # The guards, from features computed here.
    held_out = study.dataset.test
    x, y = (
        features(
            study.backbone,
            study.load(study.pretrain(network)),
            study.images,
            study._plain.rows["held_out"],
            intensity=study.dataset.intensity,
        )
        for network in (FIRST, AWAY)
    )
    assert sorted(study._plain.rows["held_out"]) == sorted(held_out)
    assert not set(study._plain.rows["held_out"]) & set(study.dataset.unlabeled)
    assert row["similarity"]["self_assl"] == pytest.approx(float(linear_cka(x, y)), abs=1e-5)
    assert row["effective_rank"]["self_assl"] == pytest.approx(effective_rank(y), abs=1e-2)
    assert set(row["similarity"]) == {"second_run", "self_assl"}
    assert set(row["untrained"]) == {"plain", "second_run", "self_assl"}
    labels = {network["label"]: network["variant"] for network in study.record()}
    assert labels["rotation.self_assl"] == "self_assl" and labels["scratch"] == "scratch"
    assert labels["rotation+src.second_run"] == "second_run"

    # Finished work is read, by this and by the other strategies.
    steps_taken.clear()
    assert compare([make_study(folds=0)], pools=pools, again=AGAIN, second_run=True) == {
        "self_assl": results
    }
    mtassl.search(make_study(folds=0), tasks=list(POOL), select_on="test")
    assert not steps_taken


def test_several_backbones_share_what_one_has_done(make_study, steps_taken):
    mtassl.single(make_study(folds=0, seeds=1), pool=("rotation",))
    steps_taken.clear()
    wide = make_study().backbone.clone(features=8)
    studies = [
        make_study(folds=0, seeds=1, prefix="tiny"),
        make_study(
            folds=0, seeds=1, prefix="wide", backbone=wide, backbone_settings={"name": "wide"}
        ),
    ]
    results = compare(studies, pools=[("rotation",)], again=AGAIN, second_run=False)
    assert [b["backbone"] for b in results["self_assl"]["backbones"]] == ["tiny", "wide"]
    assert steps_taken.count("rotation") == 3 * 4 and steps_taken.count("target") == 4 * 2
    labels = [network["label"] for study in studies for network in study.record()]
    assert labels[1:3] == ["tiny/rotation", "tiny/rotation.self_assl"]
    assert "wide/scratch" in labels
    shown = {stage.label for stage in studies[0].stages.finished}
    assert shown == {"tiny/scratch", "tiny/rotation", "tiny/rotation.self_assl"}


def test_without_weight_a_second_run_is_a_plain_one(make_study):
    study = make_study(folds=0, seeds=1)
    assert CONTROL.label == "rotation.second_run"
    other = dataclasses.replace(AGAIN, penalty=Penalty(weight=0.0, queue=8, sign="as_printed"))
    assert study.pretrain(CONTROL).key == study.pretrain(Network(FIRST.pool, other)).key
    assert not equal(params(study, FIRST), params(study, CONTROL))  # other random numbers
    assert not equal(params(study, CONTROL), params(study, AWAY))
    # The same numbers: with hardly any weight it is nearly the control.
    faint = SecondRun(penalty=Penalty(weight=1e-6))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3),
        params(study, CONTROL),
        params(study, Network(FIRST.pool, faint)),
    )


def test_from_f_p_it_starts_at_the_first_networks_weights(make_study, monkeypatch):
    from assl_jax.strategies import study as module

    study = make_study(folds=0, seeds=1)
    began = {}
    real = module.fit

    def fit(state, **more):
        began["state"] = jax.tree.map(np.asarray, (state.params, state.batch_stats))
        began["first"], began["adam"] = more["first"], state.opt_state
        return real(state, **more)

    first = study.pretrain(FIRST)
    monkeypatch.setattr(module, "fit", fit)
    study.pretrain(Network(FIRST.pool, dataclasses.replace(AGAIN, init_from="f_p")))
    checkpoints = Checkpoints(first.folder / "checkpoints")
    like = study._fresh(jax.random.key(0), {"rotation": study.tasks["rotation"]}, study.pretraining)
    last = checkpoints.restore(like, study.images.mesh)
    checkpoints.close()
    assert equal(began["state"], (last.params, last.batch_stats))  # its head too
    # The frozen network keeps the running statistics of the proxy task's inputs.
    assert equal(began["first"]["batch_stats"], last.batch_stats)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(began["adam"]))
    study.pretrain(AWAY)
    assert not equal(began["state"], (last.params, last.batch_stats))


def test_both_networks_side_by_side(make_study):
    study = make_study(folds=0, seeds=1)
    both = Network(FIRST.pool, dataclasses.replace(AGAIN, use="both"))
    assert study.pretrain(both).key == study.pretrain(AWAY).key  # only fine-tuning differs
    assert study.finetune(both).key != study.finetune(AWAY).key
    variables = study._pretrained(both)
    images = study.dataset.intensity(jnp.asarray(study.dataset.images[:5]))
    joined = SideBySide(study.backbone, 2).apply(variables, images)
    each = [study.backbone.apply(study.load(study.pretrain(n)), images) for n in (FIRST, AWAY)]
    for name in ("stage1", "pooled"):
        expected = jnp.concatenate([maps[name] for maps in each], -1)
        np.testing.assert_allclose(joined[name], expected, rtol=1e-5)
    assert study.probabilities(both)[0].shape == (20, 2)


def test_the_exported_pair_loads(make_study):
    settings = {"name": "resnet10", "width": 1 / 32, "stem": "small"}
    study = make_study(
        folds=0, seeds=1, backbone=make_backbone(**settings), backbone_settings=settings
    )
    both = Network(FIRST.pool, dataclasses.replace(AGAIN, use="both"))
    stage = study.finetune(both)
    model = load_model(stage.folder)
    assert model.classes == ["a", "b"] and isinstance(model.backbone, SideBySide)
    images = model.intensity(jnp.asarray(study.dataset.images[study.dataset.test]))
    pooled = model.backbone.apply(model.variables, images)["pooled"]
    predicted = (pooled @ model.kernel + model.bias[None]).argmax(-1)
    accuracy = (predicted == study.dataset.labels[study.dataset.test]).mean()
    assert stage.result["runs"] == [pytest.approx(accuracy)]


def test_what_is_logged_over_training(make_study):
    study = make_study(folds=0, seeds=1)
    records = MetricsLog(study.pretrain(AWAY).folder).read()
    seen = [r for r in records if r["task"] == "held_out"]
    assert [r["step"] for r in seen] == [0, 1, 2, 3, 4]
    for record in seen:
        assert 0 <= record["similarity_to_frozen"] <= 1 and record["effective_rank"] >= 0
        assert 0 <= record["similarity_to_untrained"] <= 1
    trained = [r for r in records if r["task"] == "rotation"]
    assert {"penalty", "similarity", "proxy_loss"} <= set(trained[0])
    # The control is observed too, and the first run is not.
    control = MetricsLog(study.pretrain(CONTROL).folder).read()
    assert any(r["task"] == "held_out" for r in control) and "penalty" not in control[-1]
    assert all(r["task"] != "held_out" for r in MetricsLog(study.pretrain(FIRST).folder).read())


def test_difference_by_hand(make_study, monkeypatch):
    study = make_study()
    truth = study.dataset.labels[study.dataset.test]
    wrong = 1 - truth
    before = [np.eye(2)[wrong], np.eye(2)[truth]]  # 0 and 1
    half = np.where(np.arange(20) < 10, truth, wrong)
    after = [np.eye(2)[half], np.eye(2)[truth]]  # 1/2 and 1
    told = {FIRST: before, AWAY: after}
    monkeypatch.setattr(type(study), "probabilities", lambda self, network: told[network])
    found = difference(study, FIRST, AWAY)
    assert found["mean"] == 0.25 and found["std"] == pytest.approx(0.5 / 2**0.5, abs=1e-6)
    assert 0 < found["low"] < 0.25 < found["high"] < 0.5
    assert difference(study, AWAY, FIRST)["mean"] == -0.25


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
        check(make_study(), Penalty(layer="stage9"))
    assert SCRATCH.variant == "scratch"
