"""A finished backbone on disk, and back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import BACKBONE, fine_tuned, network, results_of

from assl_jax.data import Dataset
from assl_jax.data.file_reader import reader_of
from assl_jax.errors import InputError
from assl_jax.evaluation.export import (
    export_backbone,
    load_backbone,
    load_ensemble,
    load_intensity,
    load_model,
    load_models,
    network_of,
)
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.records import BackboneRecord
from assl_jax.training.sharding import make_mesh, replicate

INTENSITY = Intensity(low=-100.0, high=300.0, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def settings(**more):
    return BACKBONE | {"dtype": "float32"} | more


def weights(module):
    """Random values in place of `init`, which would have to be compiled."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype(s.dtype), shapes)


@pytest.mark.parametrize(
    "arguments",
    [settings(), settings(dtype="bfloat16"), settings(name="vgg11"), settings(remat=True)],
    ids=str,
)
def test_round_trip(tmp_path, arguments):
    module = make_backbone(**arguments)
    variables = weights(module)
    export_backbone(
        tmp_path / "backbone",
        replicate(variables, make_mesh()),
        settings=arguments,
        intensity=INTENSITY,
        pool=("simclr", "rotation"),
    )
    loaded, back = load_backbone(str(tmp_path))
    assert loaded == module and load_intensity(tmp_path) == INTENSITY
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(back))
    found = jax.eval_shape(loaded.apply, back, jnp.zeros((2, 8, 8, 3)))
    assert found["stage4"].dtype == arguments["dtype"] and found["pooled"].dtype == jnp.float32
    record = json.loads((tmp_path / "backbone" / "backbone.json").read_text())
    assert record["pool"] == ["simclr", "rotation"]


def test_an_unfinished_folder(tmp_path):
    more = {"settings": settings(), "intensity": INTENSITY, "pool": ("src",)}
    export_backbone(tmp_path / "backbone", weights(make_backbone(**settings())), **more)
    # As a run that was killed while exporting leaves it.
    (tmp_path / "backbone" / "backbone.json").unlink()
    for load in (load_backbone, load_intensity):
        with pytest.raises(InputError, match="no finished run .*; run it first"):
            load(tmp_path)


DATASET = Dataset(
    name="pets",
    images=np.zeros((4, 8, 8, 3), np.uint8),
    labels=np.array([0, 1, 0, 1], np.int32),
    class_names=("cat", "dog"),
    unlabeled=np.array([0, 1]),
    labelled_sets=(np.array([0, 1]),),
    test=np.array([2, 3]),
    intensity=INTENSITY,
    format={"side": 8},
)


def export_fine_tuned(folder, number=0):
    """A fine-tuned network; returns its backbone's variables."""
    variables, head = weights(make_backbone(**settings())), {"kernel": np.eye(4, 2), "bias": [1, 2]}
    fine_tuned(folder, variables, DATASET, settings=settings(), number=number, **head)
    return variables


def test_a_fine_tuned_network_and_back(tmp_path):
    variables = export_fine_tuned(tmp_path)
    model = load_model(tmp_path)
    assert model.backbone == make_backbone(**settings())
    assert (model.intensity, model.classes) == (INTENSITY, ("cat", "dog"))
    assert model.reader == reader_of(DATASET)
    jax.tree.map(np.testing.assert_array_equal, model.variables, variables)
    np.testing.assert_array_equal(model.kernel, np.eye(4, 2))
    np.testing.assert_array_equal(model.bias, [1.0, 2.0])
    (tmp_path / "model" / "model.json").unlink()
    with pytest.raises(InputError, match="kept .no model/model.json.; run it first"):
        load_model(tmp_path)


def test_the_fine_tuned_networks_that_were_kept(tmp_path):
    export_fine_tuned(tmp_path)
    assert len(load_ensemble(tmp_path)) == 1
    export_fine_tuned(tmp_path, number=1)
    models = load_ensemble(tmp_path)
    assert len(models) == 2
    jax.tree.map(np.testing.assert_array_equal, models[0].variables, models[1].variables)


def test_the_record_is_written_last(tmp_path, monkeypatch):
    """A process that dies while it writes the weights leaves no finished network."""

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("assl_jax.evaluation.export.save_tree", die)
    with pytest.raises(KeyboardInterrupt):
        export_fine_tuned(tmp_path)
    with pytest.raises(InputError, match="no network that was kept"):
        load_model(tmp_path)


def test_networks_of_a_run(tmp_path, monkeypatch):
    """Variants of a pool stand together, the second run last; `jigsaw` was not kept."""
    (tmp_path / "run").mkdir()
    labels = ["src", "rotation", "jigsaw", "src.second_run", "rotation.self_assl", "src.self_assl"]
    for label in labels:
        kept = "" if label == "jigsaw" else "model"
        (tmp_path / "stages" / f"finetune-{label}" / kept).mkdir(parents=True)
    # Loading is tested above; here a network is the name of its folder.
    monkeypatch.setattr(
        "assl_jax.evaluation.export.load_model", lambda folder, temperature: folder.name
    )
    found = load_models(tmp_path / "run", results_of(map(network, labels)))
    order = "src src.self_assl src.second_run rotation rotation.self_assl"
    assert list(found) == order.split()
    assert all(name == f"finetune-{label}" for label, name in found.items())
    chosen = ["rotation.self_assl", "src"]
    assert list(load_models(tmp_path / "run", results_of(map(network, labels)), chosen)) == chosen


@pytest.mark.parametrize(
    "backbone", [{"name": 3}, {"name": "resnet10", "no such": 1}, {"width": []}]
)
def test_a_record_that_describes_no_network(backbone):
    record = BackboneRecord(backbone=backbone, intensity=INTENSITY, pool=())
    with pytest.raises(InputError, match="backbone.*(describes no network|must be a number)"):
        network_of(record)
