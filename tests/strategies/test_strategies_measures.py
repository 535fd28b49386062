"""Gains, complements and costs of networks, against stored predictions, features and counts."""

import numpy as np
import pytest

from assl_jax.evaluation.features import features
from assl_jax.evaluation.probes import cross_validated_loss
from assl_jax.objectives.penalty import Penalty
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.settings import SecondRun

POOL = ("src", "rotation")
SRC, ROTATION = Network(("src",)), Network(("rotation",))


@pytest.mark.slow
def test_a_gain_is_that_of_the_stored_predictions(make_study):
    """Cross-validated on either division into folds, and on the test set."""
    study = make_study(metric="log_loss")
    evaluating, labels = study.evaluating, study.setup.dataset.labels

    def losses(stage, runs):
        each = []
        for name, run in runs.items():
            p = np.load(stage.folder / "predictions" / f"{name.replace(' ', '_')}.npy")
            each.append(-np.log(p[np.arange(len(p)), labels[run.test]]))
        return each

    seen = []
    for repeat in (0, 1):
        runs = evaluating.folds(repeat)
        old, new = (
            np.concatenate(losses(evaluating.cross_validate(n, repeat), runs))
            for n in (SCRATCH, SRC)
        )
        gain = evaluating.gain(SCRATCH, SRC, repeats=[repeat])
        assert gain.mean == pytest.approx((old - new).mean(), rel=1e-4)
        assert gain.error == pytest.approx((old - new).std() / np.sqrt(len(old)), rel=0.2)
        seen.append({tuple(run.test) for run in runs.values()})
        assert sorted(np.concatenate([run.test for run in runs.values()])) == list(range(24, 40))
    assert seen[0] != seen[1]  # other folds
    old, new = (
        np.mean(losses(evaluating.finetune(n), evaluating.test_runs()), axis=0)
        for n in (SCRATCH, SRC)
    )
    on_test = evaluating.gain(SCRATCH, SRC, on_test=True)
    assert on_test.mean == pytest.approx((old - new).mean(), rel=1e-4)


@pytest.mark.slow
def test_what_features_add_to_a_probe(make_study, monkeypatch):
    """The better probe alone minus the probe on both, from features computed here."""
    study = make_study(similarity={"reestimate_bn": False})
    setup, comparing = study.setup, study.comparing
    rows = setup.dataset.labelled_sets[0]
    x = {}
    for network in (SRC, ROTATION):
        variables = study.pretraining.load(study.pretraining.run(network))
        x[network] = features(
            setup.backbone,
            variables,
            setup.images,
            rows,
            intensity=setup.dataset.intensity,
            layer="pooled",
            batch_size=7,
        )

    def loss(x):
        return cross_validated_loss(x, setup.dataset.labels[rows], classes=2, seed=0)

    apart = min(loss(x[SRC]), loss(x[ROTATION]))
    together = loss(np.concatenate([x[SRC], x[ROTATION]], axis=1))
    found = comparing.complement(SRC, ROTATION)
    assert found == pytest.approx(apart - together, rel=1e-3) and found != 0
    # The probes are stages: another run reads them and fits nothing.
    monkeypatch.setattr("assl_jax.strategies.comparing.cross_validated_loss", None)
    another = make_study(similarity={"reestimate_bn": False})
    assert another.comparing.complement(SRC, ROTATION) == found


def test_a_pool_gets_the_compute_of_its_first_task(make_study):
    """SRC sees 5 tiles of an image, Rotation 4 turned crops: another size, another cost."""
    pretraining = make_study(budget="compute", steps=1000, folds=0).pretraining
    costs = {name: pretraining.mixing.flops_of_a_step(Network((name,))) for name in POOL}
    assert costs["src"] != costs["rotation"]
    for first, second in (POOL, POOL[::-1]):
        steps = pretraining.training_of(Network((first, second))).steps
        mean = (costs[first] + costs[second]) / 2
        assert steps == round(1000 * costs[first] / mean) != 1000
    assert pretraining.training_of(SRC).steps == 1000


@pytest.mark.slow
def test_the_cost_of_a_network_is_that_of_all_it_builds_on(make_study):
    pretraining = make_study(folds=0).pretraining
    flops = pretraining.cost(SRC)
    assert flops == 4 * pretraining.mixing.flops_of_a_step(SRC) > 0
    second = Network(("src",), SecondRun(penalty=Penalty(weight=1.0)))
    assert pretraining.cost(second) > 2 * flops  # f' also runs f_p
    assert pretraining.cost(SCRATCH) == 0.0
