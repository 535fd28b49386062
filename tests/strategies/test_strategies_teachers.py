"""Teachers that a user brings: members of pools whose networks are given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.strategies import mtassl
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.plan import planned
from assl_jax.strategies.settings import SearchSettings
from assl_jax.strategies.setup import Given
from assl_jax.training import loop
from assl_jax.training.checkpoint import tree_digest

SRC, TEACHER = Network(("src",)), Network(("wise",))
POOL = Network(("wise", "src"))  # as in a search that a teacher starts


@pytest.fixture
def taught(make_study, drawn):
    """`taught(shift, name)`: a study with a teacher, whose pools are distilled."""

    def make(shift=0.0, name="wise", **more):
        backbone = make_study().setup.backbone
        variables = drawn(backbone.init, jnp.zeros((1, 16, 16, 1)))
        variables["params"] = jax.tree.map(lambda a: a + np.float32(shift), variables["params"])
        given = Given(variables=variables, digest=tree_digest(variables).hex())
        return make_study(seeds=1, mixing="distil", teachers={name: given}, **more)

    return make


@pytest.fixture
def fits(monkeypatch):
    """The first parameters, the objective and the frozen networks of every training."""
    seen, real = [], loop.fit

    def recorded(state, objective, *about, frozen, **settings):
        params = jax.tree.map(np.asarray, state.params["backbone"])  # the training donates them
        seen.append((params, objective, frozen))
        return real(state, objective, *about, frozen=frozen, **settings)

    monkeypatch.setattr("assl_jax.strategies.pretraining.fit", recorded)
    return seen


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_its_network_is_given_and_not_trained(taught, fits):
    study = taught()
    given, stage = study.setup.teachers["wise"], study.pretraining.run(TEACHER)
    found = study.pretraining.load(stage)
    same(found["params"], given.variables["params"])
    same(found["batch_stats"], study.setup.plain_images.fit(given.variables)["batch_stats"])
    assert not fits and study.pretraining.cost(TEACHER) == 0.0
    assert stage.record.kind == "teacher" and stage.folder.name.startswith("teacher-wise-")
    # The weights count, and not where they come from or what they are called.
    assert taught(0.1).pretraining.run(TEACHER).settings_key != stage.settings_key
    other = taught(name="old").pretraining.run(Network(("old",)))
    assert other.settings_key == stage.settings_key


def test_a_plan_has_no_pretraining_for_it(taught):
    study = taught()
    assert [work.title for work in planned(study, [TEACHER])] == [
        "fine-tune scratch",
        "fine-tune wise",
    ]
    assert [work.title for work in planned(study, [POOL], [SRC, TEACHER])] == [
        "fine-tune scratch",
        "pretrain src",
        "pretrain src+wise",
        "fine-tune src+wise",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["pooled", "stage1"])  # of the comparisons: it must not matter
def test_the_task_goes_on_and_predicts_the_teachers_features(taught, fits, layer):
    study = taught(folds=0, similarity={"layer": layer})
    pretraining, setup = study.pretraining, study.setup
    stage = pretraining.run(POOL)
    assert [objective.name for _, objective, _ in fits] == ["src", "distillation"]
    params, objective, frozen = fits[1]
    assert (objective.part.name, objective.widths, objective.own) == ("src", (6,), 1.0)
    assert pretraining.run(Network(("src", "wise"))).folder == stage.folder
    last = pretraining._last_state(
        pretraining.run(SRC), objective.part, pretraining.settings.training
    )
    same(params, last.params["backbone"])
    # The targets: features of the given network, standardised by its features of plain images.
    given = pretraining.load(pretraining.run(TEACHER))

    def pooled(inputs):
        return np.asarray(setup.backbone.apply(given, inputs, train=False)["pooled"])

    rows = setup.plain_images.rows["unlabeled"]
    plain = pooled(setup.dataset.intensity(jnp.asarray(setup.dataset.images[rows])))
    batch = objective.make_batch(jax.random.key(1), jnp.asarray(setup.dataset.images[:4]))
    (target,) = objective.prepare(batch, setup.backbone, (), frozen).frozen["teachers"]
    views = pooled(batch.inputs.reshape(-1, *batch.inputs.shape[2:]))
    expected = (views - plain.mean(0, keepdims=True)) / plain.std(0, keepdims=True)
    np.testing.assert_allclose(target.reshape(expected.shape), expected, atol=1e-4)
    # The pool's cost is its own and that of the task that it goes on from.
    assert pretraining.cost(POOL) == sum(
        4 * pretraining.mixing.flops_of_a_step(network) for network in (SRC, POOL)
    )


@pytest.mark.slow
def test_a_search_takes_it_as_a_candidate(taught):
    study = taught(metric="log_loss")
    settings = SearchSettings(gate=False, accept="better")
    findings = mtassl.search(study, tasks=("src",), teachers=("wise",), settings=settings)
    assert list(findings.singles) == ["src", "wise"]
    assert findings.similarity.tasks == ("src", "wise")
    (step,) = findings.iterations
    assert {*step.pool, step.chosen} == {"src", "wise"}
    networks = {network.label: network for network in study.record()}
    assert networks["wise"].pretrain.startswith("teacher-wise-") and networks["wise"].flops == 0
    assert networks["src+wise"].flops > networks["src"].flops > 0


@pytest.mark.slow
def test_it_stands_beside_each_pretraining_of_another_network(taught):
    study = taught(metric="log_loss", pretrainings=2)
    pretraining, evaluating = study.pretraining, study.evaluating
    assert pretraining.repeats(TEACHER) == [TEACHER]
    again = pretraining.repeats(POOL)[1]
    assert [n.label for n in pretraining.mixing.parents(again)] == ["src.seed1", "wise"]
    labels = study.setup.dataset.labels[study.setup.dataset.test]

    def loss(probabilities):
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    (wise,), src = map(evaluating.probabilities, (TEACHER, SRC))
    gain = evaluating.gain(SRC, TEACHER, on_test=True)
    assert gain.mean == pytest.approx(np.mean([*map(loss, src)]) - loss(wise), abs=1e-6)
    spread = abs(loss(src[0]) - loss(src[1])) / 2  # the standard error over two pretrainings
    assert gain.error > spread > 0
    for on_test in (False, True):
        gain, back = (
            evaluating.gain(*pair, on_test=on_test) for pair in ((TEACHER, SRC), (SRC, TEACHER))
        )
        assert (gain.mean, gain.error) == pytest.approx((-back.mean, back.error))


def test_no_pool_consists_of_teachers_and_the_control_trains_a_task(fake_study):
    """The teachers are the best two, and the least similar ones."""
    accuracies = {
        **{(): 0.1, ("t",): 0.5, ("u",): 0.4, ("wise",): 0.8, ("old",): 0.7},
        **{("wise", "u"): 0.85, ("wise", "u", "old"): 0.9, ("wise", "u", "old", "t"): 0.9},
        ("u", "|", "wise", "u", "old"): 0.6,
    }
    names, pools = ("t", "u", "wise", "old"), [("wise",), ("wise", "u"), ("wise", "u", "old")]
    alike = {"old": 0.1, "u": 0.2, "t": 0.3, "wise": 0.4}
    pairs = {((a,), (b,)): 0.5 for a in names for b in names}
    pairs |= {(pool, (name,)): alike[name] for pool in pools for name in names}
    study = fake_study(accuracies, pairs)
    settings = SearchSettings(metric="accuracy", accept="better")
    findings = mtassl.search(study, tasks=("t", "u"), teachers=("wise", "old"), settings=settings)
    steps = [(step.pool, step.chosen, step.accepted) for step in findings.iterations]
    assert steps == [
        (("wise",), "u", True),
        (("wise", "u"), "old", True),
        (("wise", "u", "old"), "t", False),
    ]
    assert ("wise", "old") not in study.trained
    assert findings.control.pool == ("u",)
    assert findings.best.pool == ("wise", "u", "old")


def test_a_search_whose_tasks_are_left_out_ends(fake_study):
    accuracies = {(): 0.5, ("t",): 0.4, ("wise",): 0.8, ("old",): 0.7}
    pairs = {((a,), (b,)): 0.5 for a in ("t", "wise", "old") for b in ("t", "wise", "old")}
    study = fake_study(accuracies, pairs)
    settings = SearchSettings(metric="accuracy")
    findings = mtassl.search(study, tasks=("t",), teachers=("wise", "old"), settings=settings)
    assert findings.best.pool == ("wise",) and not findings.iterations and not findings.control


def test_without_teachers_no_network_is_given(make_study):
    setup = make_study().setup
    assert setup.given(SRC) is setup.given(SCRATCH) is setup.given(POOL) is None
