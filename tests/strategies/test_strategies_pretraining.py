"""Pretrainings: what is trained, from where, how long, and how they go on after a stop."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.records import HELD_OUT, SCRATCH, START, Findings, Network
from assl_jax.routes import sampling_routes
from assl_jax.strategies import comparing, mtassl, pretraining
from assl_jax.strategies.checks import check
from assl_jax.strategies.pretraining import cost_of, step_flops_of, training_of
from assl_jax.strategies.pricing import planned
from assl_jax.strategies.settings import DistilSettings
from assl_jax.strategies.study import Given
from assl_jax.training.checkpoint import Checkpoints, tree_digest
from assl_jax.training.metrics_log import MetricsLog

NAMES = ("src", "rotation")
SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
BOTH = Network(tasks=("rotation", "src"), objective="alternate")


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b)))


def last_state(lab, network):
    """The state at the end of a finished pretraining, from its checkpoint."""
    objective = pretraining.objective_of(lab.study, network, lab.study.width)
    like = pretraining.fresh(lab.study, objective, jax.random.key(0))
    checkpoints = Checkpoints(lab.pretrain(network).folder / "checkpoints")
    state = checkpoints.restore(like, lab.study.images.mesh)
    checkpoints.close()
    return state


@pytest.fixture
def given(lab, drawn):
    """`given(shift)`: weights for the study's backbone."""

    def make(shift=0.0):
        variables = drawn(lab().study.backbone.init, jnp.zeros((1, 16, 16, 1)))
        variables["params"] = jax.tree.map(lambda a: a + np.float32(shift), variables["params"])
        return Given(variables=variables, digest=tree_digest(variables).hex())

    return make


# How long.


@pytest.mark.slow
@pytest.mark.parametrize("budget, steps", [("steps", 4), ("per_task", 8)])
def test_budget(lab, steps_taken, budget, steps):
    tiny = lab(budget=budget)
    stage = tiny.pretrain(BOTH)
    assert len(steps_taken) == steps and set(steps_taken) == set(NAMES)
    checkpoints = Checkpoints(stage.folder / "checkpoints")
    assert checkpoints.latest == steps
    checkpoints.close()
    assert stage.record.images_per_s > 0
    steps_taken.clear()
    tiny.pretrain(SRC)
    assert steps_taken == ["src"] * 4  # a single task costs the same either way
    watched = [r for r in MetricsLog(stage.folder).read() if r.task == HELD_OUT]
    assert all(r.values["effective_rank"] >= 1 and "knn_accuracy" in r.values for r in watched)
    # The routes that the class labels refer to are kept.
    tables = json.loads((stage.folder / "labels.json").read_text())
    assert set(tables) == {"src"}
    np.testing.assert_array_equal(tables["src"], sampling_routes(2))


@pytest.mark.parametrize("mixing", ["alternate", "joint", "distil"])
def test_all_networks_get_the_same_compute(lab, mixing):
    """That of so many steps on whole images; SRC sees 5 tiles, Rotation 4 turned crops."""
    study = lab(budget="compute", mixing=mixing, steps=1000).study
    # A convolution of 3x3 to 6 channels at 8x8 positions of 8 images, forward and two gradients.
    unit = 1000 * 3 * 8 * 2 * 9 * 6 * 64
    pool = study.pool(NAMES)
    begun = study.continued(SRC), study.extended(SRC, "rotation"), study.continued(pool)
    steps = {training_of(study, n).steps for n in (SRC, ROTATION, pool, *begun)}
    assert len(steps) > 2
    for network in (SRC, ROTATION, pool, *begun):
        each = step_flops_of(study, network)
        assert abs(training_of(study, network).steps * each - unit) <= each / 2


def test_the_first_task_leads_where_it_matters(lab):
    """All others, and all tasks of a pool that alternates, are trained in alphabetical order."""
    for mixing, led in (("alternate", False), ("joint", True), ("distil", True)):
        study = lab(mixing=mixing).study
        pools = [study.pool(names) for names in (NAMES, NAMES[::-1])]
        assert (pools[0] != pools[1]) == led
    joint = [
        objective.name
        for objective in pretraining.objective_of(
            lab(mixing="joint").study, Network(tasks=NAMES, objective="joint")
        ).members
    ]
    assert joint == list(NAMES)
    study = lab(budget="compute").study
    for names in (NAMES, NAMES[::-1]):
        members = pretraining.objective_of(study, study.pool(names)).members
        assert [member.name for member in members] == sorted(NAMES)


@pytest.mark.slow
def test_the_cost_of_a_network_is_that_of_all_it_builds_on(lab):
    tiny = lab(mixing="distil")
    second = Network(tasks=("src",), objective="self_assl", teachers=(SRC,))
    tiny.pretrain(second, tiny.study.pool(NAMES))
    flops = tiny.evidence.cost(SRC)
    assert flops == cost_of(tiny.study, SRC) == 4 * step_flops_of(tiny.study, SRC) > 0
    assert tiny.evidence.cost(second) > 2 * flops  # f' also runs f_p
    pool = tiny.study.pool(NAMES)
    expected = 4 * sum(step_flops_of(tiny.study, n) for n in (SRC, ROTATION, pool))
    assert tiny.evidence.cost(pool) == expected == cost_of(tiny.study, pool)
    assert tiny.evidence.cost(SCRATCH) == 0.0


# What a stage leaves, and how it goes on.


def test_killed_while_pretraining(lab, steps_taken, monkeypatch):
    whole = lab(folder="whole").features(BOTH)

    def full(log, record):
        if record.step == 4:
            raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(MetricsLog, "write", full)
        lab().features(BOTH)
    assert not list(lab().folder.glob("*/done.json"))
    steps_taken.clear()
    found = lab().features(BOTH)
    assert len(steps_taken) == 2  # from the checkpoint after step 2 on
    np.testing.assert_array_equal(comparing.read(found), comparing.read(whole))


@pytest.mark.slow
def test_the_order_of_stages_does_not_matter(lab):
    firsts = lab(folder="one").features(SRC, ROTATION)
    seconds = lab(folder="two").features(ROTATION, SRC)[::-1]
    for a, b in zip(firsts, seconds, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(comparing.read(a), comparing.read(b))


@pytest.mark.slow
def test_a_checkpoint_of_another_form_is_one_line(lab):
    tiny = lab(mixing="distil")
    folder = tiny.pretrain(SRC).folder / "checkpoints"
    like = last_state(tiny, SRC)
    shutil.rmtree(folder)
    checkpoints = Checkpoints(folder)
    checkpoints.save(4, like._asdict() | {"queue": None, "more": like.step})
    checkpoints.close()
    done = folder.parent / "done.json"  # so that it is not damage
    record = json.loads(done.read_text())
    record["files"] = {k: v for k, v in record["files"].items() if "checkpoints" not in k}
    record.pop("digest", None)
    done.write_text(json.dumps(record))
    with pytest.raises(InputError, match="does not fit this version; delete that folder"):
        lab(mixing="distil").pretrain(tiny.study.pool(NAMES))


@pytest.mark.slow
def test_statistics_fit_plain_images_unless_told_otherwise(lab):
    def means(**similarity):
        tiny = lab(similarity=similarity)
        variables, study = tiny.variables(ROTATION), tiny.study
        images = study.dataset.intensity(jnp.asarray(study.dataset.images[:40]))
        trained = study.backbone.apply(variables, images, train=True, mutable=["batch_stats"])[0]
        evaluated = study.backbone.apply(variables, images)
        return variables, np.abs(evaluated["pooled"] - trained["pooled"]).max()

    plain, off = means(n=40)
    _, far_off = means(n=40, reestimate_bn=False)
    assert off < 1e-4 < 0.1 < far_off
    # Another sample gives other statistics (so it is another stage), and the same weights.
    other, _ = means(n=16)
    assert equal(other["params"], plain["params"])
    assert np.abs(other["batch_stats"]["bn"]["mean"] - plain["batch_stats"]["bn"]["mean"]).max() > 0


@pytest.mark.slow
def test_a_single_network_does_not_depend_on_how_pools_are_trained(lab, steps_taken):
    """Its checkpoint can be continued by any pool: other settings of pools find and read it."""
    lab().pretrain(SRC, ROTATION)
    steps_taken.clear()
    for mixing in ("distil", "joint"):
        tiny = lab(mixing=mixing)
        tiny.pretrain(tiny.study.pool(NAMES))
    assert set(steps_taken) == {"distillation", "joint"}


@pytest.mark.parametrize("prefix", ["", "vgg16"])
def test_features_that_are_not_finite_reach_no_table(lab, monkeypatch, prefix):
    """Of a network that diverged after its last checked step; the message names it."""

    def spoiled(*given):
        tree = untrained(*given)
        return jax.tree.map(lambda a: np.full(a.shape, np.nan, a.dtype), tree)

    untrained = pretraining.untrained
    monkeypatch.setattr(pretraining, "untrained", spoiled)
    tiny = lab(prefix=prefix, similarity={"reestimate_bn": False})
    name = tiny.study.words(SCRATCH)
    assert name.startswith(prefix)
    for subset in ("unlabeled", "held_out", "labelled"):
        with pytest.raises(InputError, match=f"^network {name} has features that are not finite"):
            tiny.features(SCRATCH, subset=subset)
    assert not list(tiny.folder.glob("*/*.npy")) and not list(tiny.folder.glob("*/done.json"))


# Pools that learn from the finished networks of their tasks.


@pytest.mark.slow
def test_a_distilled_pool_goes_on_from_the_first_tasks_network(lab, fits):
    tiny = lab(mixing="distil", distil=DistilSettings(weight=2.0))
    pool = tiny.study.pool(NAMES)
    stage = tiny.pretrain(pool)
    assert sorted(fit.objective.name for fit in fits) == ["distillation", "rotation", "src"]
    fit, task = fits[-1], fits[-1].objective
    assert (task.part.name, task.widths, task.weight, task.own) == ("src", (6,), 2.0, 1.0)
    assert fit.seed not in {each.seed for each in fits[:-1]}  # other batches than it has seen
    (teacher,) = fit.frozen["teachers"]
    assert equal(teacher.variables, tiny.variables(ROTATION))
    last, begun = last_state(tiny, SRC), fit.state.params
    assert equal(begun["backbone"], last.params["backbone"])
    assert equal(begun["heads"]["distillation"]["own"], last.params["heads"]["src"])
    assert not equal(tiny.params(pool), begun["backbone"])
    # The other order goes on from the other network; it is another stage.
    assert tiny.pretrain(tiny.study.pool(NAMES[::-1])).name != stage.name
    assert len(fits) == 4


@pytest.mark.slow
def test_from_scratch_a_distilled_pool_learns_from_all_of_them(lab, fits):
    tiny = lab(mixing="distil", distil=DistilSettings(start="scratch"))
    tiny.pretrain(tiny.study.pool(NAMES))
    assert fits[-1].objective.own == 0.0 and len(fits[-1].frozen["teachers"]) == 2
    assert not equal(fits[-1].state.params["backbone"], tiny.params(SRC))


@pytest.mark.slow
def test_a_second_training_can_follow_on_another_task(lab, fits):
    """SimCLR, then with Rotation: the network of one task is where that of another begins."""
    tiny = lab()
    tiny.pretrain(ROTATION.replace(start=SRC))
    assert [fit.objective.name for fit in fits] == ["src", "rotation"]
    assert equal(fits[1].state.params["backbone"], last_state(tiny, SRC).params["backbone"])


# Weights that a user brings.


@pytest.mark.slow
def test_a_teachers_network_is_given_and_not_trained(lab, given, fits):
    wise, teacher = given(), Network(given="wise")
    tiny = lab(given={"wise": wise}, mixing="distil")
    stage = tiny.pretrain(teacher)
    found = tiny.variables(teacher)
    assert equal(found["params"], wise.variables["params"])
    fitted = tiny.study.plain_images.fit(wise.variables)["batch_stats"]
    assert equal(found["batch_stats"], fitted)
    assert not fits and tiny.evidence.cost(teacher) == 0.0
    assert stage.record.kind == "given" and stage.name.startswith("given-wise-")
    assert lab(given={"wise": given(0.1)}).pretrain(teacher).name != stage.name
    # A plan has no pretraining for it.
    pool = tiny.study.pool(("wise", "src"))  # as in a search that a teacher starts
    titles = [work.title for work in planned(tiny.evidence, [pool], [SRC, teacher])]
    assert titles == [
        *("fine-tune from scratch", "pretrain src", "pretrain src + wise"),
        "fine-tune src + wise",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["pooled", "stage1"])  # of the comparisons: it must not matter
def test_a_task_goes_on_and_predicts_a_teachers_features(lab, given, fits, layer):
    wise = given()
    tiny = lab(given={"wise": wise}, mixing="distil", similarity={"layer": layer})
    study, pool = tiny.study, tiny.study.pool(("wise", "src"))
    tiny.pretrain(pool)
    assert pool == study.pool(("src", "wise"))
    assert [fit.objective.name for fit in fits] == ["src", "distillation"]
    task, frozen = fits[1].objective, fits[1].frozen
    assert (task.part.name, task.widths, task.own) == ("src", (6,), 1.0)
    assert equal(fits[1].state.params["backbone"], last_state(tiny, SRC).params["backbone"])
    # The targets: features of the given network, standardised by its features of plain images.
    weights = tiny.variables(Network(given="wise"))

    def pooled(inputs):
        return np.asarray(study.backbone.apply(weights, inputs, train=False)["pooled"])

    images, rows = study.dataset.images, study.plain_images.rows["unlabeled"]
    plain = pooled(study.dataset.intensity(jnp.asarray(images[rows])))
    batch = task.make_batch(jax.random.key(1), jnp.asarray(images[:4]))
    (target,) = task.prepare(batch, study.backbone, (), frozen).frozen["teachers"]
    views = pooled(batch.inputs.reshape(-1, *batch.inputs.shape[2:]))
    expected = (views - plain.mean(0, keepdims=True)) / plain.std(0, keepdims=True)
    np.testing.assert_allclose(target.reshape(expected.shape), expected, atol=1e-4)
    # The pool's cost is its own and that of the task that it goes on from.
    assert tiny.evidence.cost(pool) == 4 * sum(step_flops_of(study, n) for n in (SRC, pool))


@pytest.mark.slow
def test_training_and_evaluation_begin_with_the_start_weights(lab, given, fits):
    plain, weights = lab(folds=0, seeds=1), given()
    before = {n: plain.evidence.specs(n)[0].name for n in (SCRATCH, ROTATION)}
    tiny = lab(folds=0, seeds=1, given={START: weights})
    study, network = tiny.study, tiny.study.single("rotation")
    findings = tiny.carry_out(mtassl.single(tiny.evidence, network))
    assert equal(fits[0].state.params["backbone"], weights.variables["params"])
    # From scratch is the same work as without start weights; the pretraining is another.
    assert tiny.evidence.specs(SCRATCH)[0].name == before[SCRATCH]
    assert tiny.evidence.specs(network)[0].name != before[ROTATION]
    assert findings.start == tiny.evaluate(study.initial)
    # What is fine-tuned as start weights has running statistics of plain images.
    assert equal(tiny.params(study.initial), weights.variables["params"])
    fitted = study.plain_images.fit(weights.variables)["batch_stats"]
    assert equal(tiny.variables(study.initial)["batch_stats"], fitted)
    # An untrained network stays random.
    untrained = pretraining.untrained(study)["params"]["conv"]["kernel"]
    assert not np.array_equal(untrained, weights.variables["params"]["conv"]["kernel"])
    assert [n.label for n in tiny.evidence.record()] == ["rotation", "scratch", "start"]
    assert tiny.evidence.record()[2].pretrain.startswith("given-start-")
    assert tiny.evidence.cost(study.initial) == 0.0


def test_the_digest_of_weights_is_that_of_their_content():
    def digest(name="x", values=(0, 0)):
        return tree_digest({"params": {name: np.array(values, np.float32)}})

    assert digest() == digest()
    assert len({digest(), digest("y"), digest(values=[(0, 0)]), digest(values=(0, 1e-30))}) == 4


# Without labels.


@pytest.mark.slow
def test_unlabeled_images_pretrain_a_network_and_nothing_else(lab):
    dataset = dataclasses.replace(
        lab().study.dataset,
        labels=np.full(60, -1, np.int32),
        class_names=(),
        unlabeled=np.arange(60),
        labelled_sets=(),
        test=np.arange(0),
    )
    tiny = lab(dataset=dataset)
    check(tiny.study)
    (work,) = planned(tiny.evidence, [ROTATION])
    assert work.title == "pretrain rotation"
    found = tiny.carry_out(mtassl.single(tiny.evidence, ROTATION))
    assert found == Findings(pretrained=ROTATION)
    (stage,) = tiny.stages.finished.values()
    assert (stage.folder / "backbone" / "backbone.json").exists()
    # The effective rank is then that of images which the pretraining sees.
    tiny.features(ROTATION, subset="held_out")
    assert tiny.evidence.effective_rank(ROTATION) > 1
