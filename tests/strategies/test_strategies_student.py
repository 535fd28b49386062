"""A student: who teaches it, what it learns, and that its cross-validation leaks nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax import finishing
from assl_jax.evaluation.classification import Labelled
from assl_jax.evaluation.export import load_model
from assl_jax.evaluation.student import StudentSettings, Taught
from assl_jax.objectives.base import Batch
from assl_jax.records import SCRATCH, Network
from assl_jax.strategies import finetuning
from assl_jax.strategies.finetuning import on_all_labels, on_folds, student_flops
from assl_jax.strategies.pricing import price
from assl_jax.strategies.settings import SearchSettings

SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
STUDENT = Network(objective="student", teachers=(SRC, ROTATION))
STEPS = StudentSettings(share=5 / 4)  # five steps, which show every image once


def test_the_loss_is_the_cross_entropy_to_the_teachers():
    logits = jnp.log(jnp.array([[0.5, 0.5], [0.2, 0.8]]))
    taught = jnp.array([[1.0, 0.0], [0.4, 0.6]])
    task = Taught(classes=2)
    loss, metrics = task.loss(logits, Batch(jnp.zeros((2, 1, 4, 4, 1)), Labelled(taught)))
    by_hand = -(np.log(0.5) + 0.4 * np.log(0.2) + 0.6 * np.log(0.8)) / 2
    assert float(loss) == pytest.approx(by_hand, rel=1e-5) and float(metrics["accuracy"]) == 1


@pytest.fixture
def lessons(monkeypatch):
    """What each student was taught: its first state, the rows, the probabilities."""
    seen, real = [], finetuning.teach

    def recorded(target, training, first, rows, taught, session):
        state = real(target, training, first, rows, taught, session)
        seen.append((jax.tree.map(np.asarray, first.params), rows, taught.copy(), state))
        return state

    monkeypatch.setattr(finetuning, "teach", recorded)
    return seen


@pytest.mark.slow
def test_what_a_student_learns(lab, lessons):
    tiny = lab(student=STEPS)
    found = tiny.evaluate(STUDENT)
    study, dataset = tiny.study, tiny.study.dataset
    runs = [*on_all_labels(study).values(), *on_folds(study).values()]
    assert len(lessons) == len(runs) == 4
    for (_, rows, taught, _), run in zip(lessons, runs, strict=True):
        # All unlabeled images but those that it is judged by, and no test image.
        assert {*rows} == {*dataset.unlabeled} - {*run.test}
        assert taught[rows].sum(1) == pytest.approx(1, abs=1e-5)
        own = np.eye(2)[dataset.labels[run.train]]
        np.testing.assert_array_equal(taught[run.train], own)
        others = np.setdiff1d(rows, run.train)
        assert ((taught[others] > 0) & (taught[others] < 1)).all()
    # Fine-tunings on the same images share their teachers, but other students come of them.
    (_, _, taught, one), (_, _, again, other), *folds = lessons
    np.testing.assert_array_equal(taught, again)
    one, other = (np.asarray(s.params["backbone"]["conv"]["kernel"]) for s in (one, other))
    assert not np.array_equal(one, other)
    assert not np.array_equal(folds[0][2], folds[1][2])
    # It is one network, kept as fine-tuned ones are.
    stage = tiny.evidence.finetuned(STUDENT)
    assert len(found.accuracy.runs) == len(found.selection.runs) == 2
    assert (stage.folder / "model").exists()
    record = tiny.evidence.record()[0]
    assert record.label == "src+rotation.student" and record.pretrain is None
    singles = sum(tiny.evidence.cost(network) for network in (SRC, ROTATION))
    assert record.flops == singles + student_flops(study) > singles


@pytest.mark.slow
def test_the_teachers_are_the_mean_of_fine_tuned_networks(lab, lessons, monkeypatch):
    told, real = [], finetuning.Target.probabilities

    def probabilities(self, state, rows):
        found = real(self, state, rows)
        told.append((rows, found))
        return found

    monkeypatch.setattr(finetuning.Target, "probabilities", probabilities)
    tiny = lab(student=STEPS, folds=0, selects=False)
    tiny.pretrain(SRC, ROTATION)
    tiny.evaluate(STUDENT)
    _, rows, taught, _ = lessons[0]
    by_teachers = [p for asked, p in told if np.array_equal(asked, rows)]
    assert len(by_teachers) == 2  # as many fine-tunings as a network has, over two networks
    unlabeled = ~np.isin(rows, tiny.study.dataset.labelled_sets[0])
    mean = np.mean(by_teachers, axis=0)[unlabeled]
    np.testing.assert_allclose(taught[rows[unlabeled]], mean, atol=1e-6)


@pytest.mark.slow
def test_a_student_learns_from_no_more_images_than_it_has_time_for(lab, lessons):
    tiny = lab(student=StudentSettings(share=1 / 4), folds=0, selects=False)
    tiny.evaluate(STUDENT)
    study = tiny.study
    (train,) = study.dataset.labelled_sets
    seen = [np.setdiff1d(rows, train) for _, rows, *_ in lessons]
    others = np.setdiff1d(study.dataset.unlabeled, train)
    assert 0 < len(seen[0]) <= study.pretrain.training.batch_size < len(others)
    assert {*seen[0]} <= {*study.dataset.unlabeled} and (seen[0] == seen[1]).all()


def test_its_price_by_hand(lab):
    """Two teachers, fine-tuned once on each of three sets of labelled images."""
    tiny = lab(student=STEPS)
    finetune, select = tiny.evidence.specs(STUDENT)
    assert [price(tiny.study, spec)[0] for spec in (finetune, select)] == [
        2 * 2 + 2 * 5,
        2 * (2 * 2) + 2 * 5,
    ]
    image = 2 * (9 * 6 * 64 + 6 * 2)
    step = 3 * 8 * image
    teachers = 2 * (2 * step + 40 * image)
    assert price(tiny.study, finetune)[1] == teachers + 2 * 5 * step + 2 * 20 * image
    longer = lab(student=StudentSettings(share=1)).evidence.specs(STUDENT)[0]
    assert longer.name != finetune.name
    alone = tiny.study.taught_by([SRC])  # its only teacher is fine-tuned twice
    assert price(tiny.study, tiny.evidence.specs(alone)[0])[0] == 2 * 2 + 2 * 5
    plain = lab().evidence.specs(SRC)[0].name
    assert tiny.evidence.specs(SRC)[0].name == plain  # nobody else depends on it


@pytest.mark.slow
def test_a_search_ends_with_a_student(lab):
    tiny = lab(student=STEPS, mixing="distil", budget="compute", metric="log_loss")
    found = tiny.search(SearchSettings(metric="log_loss", budget="20 singles"))
    student = [s.network for s in found.search.standings if s.network.objective == "student"]
    (network,) = student
    others = [s.network for s in found.search.standings if s.network != network]
    assert set(network.teachers) <= {*others} - {SCRATCH}


@pytest.mark.parametrize(
    "least, networks, teachers",
    [(0.1, 3, ["a", "b"]), (0.1, 1, ["a"]), (0.0, 3, ["a", "b", "c"]), (0.9, 3, ["a"])],
)
def test_the_networks_that_are_probably_the_best_teach(least, networks, teachers, fake, drive):
    from assl_jax.strategies.rounds import _student

    evidence = fake({"a": 0.5, "b": 0.49, "c": 0.3, "scratch": 0.6}, {})
    evidence.error = 0.02
    settings = StudentSettings(share=1 / 4, networks=networks, least=least)
    object.__setattr__(evidence.study, "student", settings)
    study = evidence.study
    tried = [SCRATCH, *map(study.single, "abc")]
    evidence.accuracies["scratch"] = 0.48
    assert [each.label for each in _student(evidence, tried).teachers] == teachers
    object.__setattr__(evidence.study, "student", StudentSettings())
    assert _student(evidence, tried) is None


@pytest.mark.slow
def test_its_map_in_the_report_is_made_from_the_features_that_it_predicts_with(lab):
    tiny = lab(student=STEPS)
    tiny.evaluate(STUDENT)
    study, dataset = tiny.study, tiny.study.dataset
    model = load_model(tiny.evidence.finetuned(STUDENT).folder)
    rows = study.plain_images.rows["held_out"]
    features = finishing._finetuned_features(tiny.evidence, STUDENT)
    assert len(features) == len(rows)
    found = np.asarray(jax.nn.softmax(features @ model.kernel + model.bias))
    test = [dataset.test.tolist().index(row) for row in rows]
    np.testing.assert_allclose(found, tiny.evidence.probabilities(STUDENT)[0][test], atol=1e-5)
    shown = finishing._embedding(tiny.evidence, STUDENT)
    assert shown.classes.tolist() == dataset.labels[rows].tolist()
