"""What the name of a stage depends on, and what it does not. Nothing is computed."""

import dataclasses

import numpy as np
import pytest

from assl_jax.records import SCRATCH, Network
from assl_jax.strategies import comparing, finetuning, pretraining, stage
from assl_jax.strategies.self_assl import networks_of
from assl_jax.strategies.settings import DistilSettings, SecondRun
from assl_jax.strategies.study import Given
from assl_jax.training.checkpoint import CheckpointPolicy
from assl_jax.training.optimiser import OPTIMISERS

SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
POOL = ("src", "rotation")


def specs(study, network=SRC):
    """By kind, the stages of one network."""
    return {
        **({"pretrain": pretraining.spec(study, network)} if network.has_weights else {}),
        "finetune": finetuning.finetune(study, network, study.target.rates[0]),
        "select": finetuning.cross_validate(study, network, study.target.rates[0]),
        "features": comparing.features(study, network),
        "probe": comparing.probe(study, [network]),
    }


def changed(before, after, network=SRC):
    """The kinds of stages whose names differ between two studies."""
    old, new = (specs(each, network) for each in (before, after))
    return {kind for kind in old if old[kind].name != new[kind].name}


def test_a_long_history_is_a_name_that_a_file_system_takes():
    """The label is cut; what the digests know still tells two stages apart."""
    taught = Network(objective="student", teachers=(SRC.replace(tasks=("a" * 300,)), ROTATION))
    first, second = (stage.StageSpec("finetune", taught, "net", {"n": n}).name for n in (1, 2))
    assert first != second and len(first) == len(second) < 255


# Another value of every field of the settings. A new field needs a line here.
PARTS = {
    "training": {"steps": 5, "batch_size": 4, "accumulate": 2, "optimiser": None},
    "optimiser": {
        "algorithm": "another",
        "learning_rate": 3e-3,
        "schedule": "constant",
        "warmup": 0.5,
        "weight_decay": 0.1,
        "clip_norm": 1.0,
    },
    "augmentation": {"shift": 1, "flip": True},
}
PRETRAIN = {"training": None, "seeds": 2, "budget": "per_task", "mixing": "joint"}
TARGET = {
    **{"training": None, "seeds": 1, "learning_rates": (1e-3, 1e-2), "folds": 3},
    **{"augmentation": None, "head": "probe", "balance": "weights", "keep": 1},
}
SIMILARITY = {"n": 20, "layer": "stage1", "estimator": "unbiased", "reestimate_bn": False}
DISTIL = {"start": "scratch", "weight": 2.0, "teachers": "wise=file"}
PENALTY = {
    **{"weight": 1.0, "sign": "as_printed", "floor": 0.1, "layer": "stage1"},
    **{"estimator": "biased", "standardise": "none", "queue": 8.0},
}
ALL = {"pretrain", "finetune", "select", "features", "probe"}
TUNED = {"finetune", "select"}


def variants(settings, values):
    """The settings with each field changed, by its name; those of a part by their own."""
    assert set(values) == {field.name for field in dataclasses.fields(settings)}
    for name, value in values.items():
        if value is not None:
            yield name, dataclasses.replace(settings, **{name: value})
            continue
        own = getattr(settings, name)
        for inner, each in variants(own, PARTS[name]):
            yield inner, dataclasses.replace(settings, **{name: each})


@pytest.mark.parametrize(
    "group, values, kinds, elsewhere",
    [
        # The seeds of a fine-tuning, the folds and the layer are of some kinds alone.
        ("pretrain", PRETRAIN, ALL, dict.fromkeys(("seeds", "budget", "mixing"), set())),
        (
            "target",
            TARGET,
            TUNED,
            {"keep": set(), "learning_rates": set(), "seeds": {"finetune"}, "folds": {"select"}},
        ),
        (
            "similarity",
            SIMILARITY,
            ALL,
            {"layer": {"features", "probe"}, "estimator": set()},
        ),
    ],
)
def test_every_setting_counts_except_a_named_few(lab, monkeypatch, group, values, kinds, elsewhere):
    monkeypatch.setitem(OPTIMISERS, "another", OPTIMISERS["adam"])
    study = lab().study
    for name, settings in variants(getattr(study, group), values):
        found = changed(study, dataclasses.replace(study, **{group: settings}))
        assert found == elsewhere.get(name, kinds), name
    module = {"pretrain": pretraining, "target": finetuning}.get(group)
    assert not module or {*values, *DISTIL} >= module.ELSEWHERE
    assert not module or set(elsewhere) <= module.ELSEWHERE


def test_every_setting_of_a_composition_counts(lab):
    study = lab(mixing="distil").study
    pool = study.pool(POOL)
    for name, settings in variants(study.distil, DISTIL):
        other = dataclasses.replace(study, distil=settings)
        found = changed(study, other, pool), changed(study, other)
        assert found == (set() if name == "teachers" else ALL, set()), name
    row = networks_of(study, ("src",), SecondRun(), control=True)
    for name, settings in variants(study.penalty, PENALTY):
        other = dataclasses.replace(study, penalty=settings)
        assert changed(study, other, row["self_assl"]) == ALL, name
        assert not changed(study, other, row["second_run"])  # the penalty is not its own


def test_how_networks_of_the_same_tasks_are_trained_counts(lab):
    """The objective, where it begins, how far, and which repetition."""
    study = lab(mixing="distil").study
    from_f_p, from_scratch = (
        networks_of(study, ("src",), SecondRun(init_from=start), control=True)
        for start in ("f_p", "scratch")
    )
    scratch = dataclasses.replace(study, distil=DistilSettings(start="scratch"))
    networks = [
        *(Network(tasks=POOL, objective=mixing) for mixing in ("alternate", "joint")),
        *(study.pool(POOL), study.pool(POOL[::-1]), scratch.pool(POOL)),
        *(*from_f_p.values(), *(n for n in from_scratch.values() if n != SRC)),
        *(SRC.replace(share=0.5), SRC.replace(seed=1)),
        ROTATION.replace(start=SRC),
    ]
    for spec_of in (pretraining.spec, lambda *given: finetuning.finetune(*given, 1e-3)):
        assert len({spec_of(study, n).settings_key for n in networks}) == len(networks) == 13
    study = lab().study  # where pools alternate, they have no order
    assert study.pool(POOL) == study.pool(POOL[::-1])


def test_a_stage_depends_on_nothing_but_its_inputs(lab):
    """One more annotated image repeats no pretraining; the test set does not touch the folds."""
    study = lab().study
    dataset, tasks = study.dataset, study.tasks
    labels, images = dataset.labels.copy(), dataset.images.copy()
    labels[0] = 1
    images[3, 0, 0] ^= 1  # an unlabeled image that has no label
    sets = (np.array([0, *range(24, 40)]),)

    def with_data(network=SRC, **changes):
        return changed(study, lab(dataset=dataclasses.replace(dataset, **changes)).study, network)

    assert with_data(labels=labels, labelled_sets=sets) == TUNED | {"probe"}
    assert with_data(test=np.arange(40, 59)) == {"finetune"}
    assert "pretrain" not in with_data(class_names=("cat", "dog"))
    assert with_data(unlabeled=np.arange(39)) == with_data(images=images) == ALL
    # From scratch, an unlabeled image does not matter.
    assert with_data(SCRATCH, images=images) == {"features", "probe"}
    crop = dataclasses.replace(tasks["src"], crop_fraction=0.9)
    for change in ({"seed": 1}, {"backbone_settings": {"name": "other"}}):
        assert changed(study, lab(**change).study) == ALL
    assert changed(study, lab(tasks={**tasks, "src": crop}).study) == ALL
    assert changed(study, lab(tasks={**tasks, "src": crop}).study, ROTATION) == set()
    # What is said and when it is kept does not matter, nor the metric of a search.
    often = CheckpointPolicy(checkpoint_every=1)
    for change in ({"checkpoints": often}, {"log_every": 9}, {"prefix": "vgg"}, {"metric": "auc"}):
        assert not changed(study, lab(**change).study)


@pytest.mark.parametrize(
    "kind, kinds",
    [("pretrain", ALL), ("features", {"features", "probe"}), ("finetune", {"finetune"})],
)
def test_the_version_of_a_kind_renames_it_and_what_comes_after(lab, monkeypatch, kind, kinds):
    def names():
        return {each: spec.name.rsplit("-", 1) for each, spec in specs(lab().study).items()}

    before = names()
    monkeypatch.setitem(stage.VERSIONS, kind, 99)
    after = names()
    assert {each for each in before if before[each] != after[each]} == kinds
    assert all(before[each][0] == after[each][0] for each in before)  # the settings are the same


def test_given_weights_count_and_not_what_they_are_called(lab):
    def key(name, digest):
        given = {name: Given(variables={}, digest=digest)}
        return pretraining.spec(lab(given=given).study, Network(given=name)).settings_key

    assert key("wise", "a") == key("old", "a") != key("wise", "b")
    begun = lab(given={"start": Given(variables={}, digest="a")}).study
    assert changed(lab().study, begun, SCRATCH) == set()
    assert pretraining.spec(begun, begun.single("src")) != pretraining.spec(lab().study, SRC)
