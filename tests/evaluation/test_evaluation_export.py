"""A finished backbone on disk, and back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.export import export_backbone, load_backbone, load_intensity
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.training.sharding import make_mesh, replicate

INTENSITY = Intensity(low=-100.0, high=300.0, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def settings(**more):
    return {"name": "resnet10", "width": 1 / 16, "stem": "half", "dtype": "float32"} | more


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
    assert json.loads((tmp_path / "backbone" / "backbone.json").read_text())["pool"] == [
        "simclr",
        "rotation",
    ]


def test_a_backbone_from_before_a_setting_was_there(tmp_path):
    """Settings that its file does not name have their defaults."""
    module = make_backbone(**settings())
    more = {"intensity": INTENSITY, "pool": ("src",)}
    export_backbone(tmp_path / "backbone", weights(module), settings=settings(), **more)
    file = tmp_path / "backbone" / "backbone.json"
    assert "remat" not in json.loads(file.read_text())["backbone"]
    loaded, _ = load_backbone(tmp_path)
    assert loaded == module and not loaded.remat
    export_backbone(tmp_path / "backbone", weights(module), settings=settings(remat=True), **more)
    again, _ = load_backbone(tmp_path)
    assert again.remat and again == loaded.clone(remat=True)


def test_an_unfinished_folder(tmp_path):
    for load in (load_backbone, load_intensity):
        with pytest.raises(InputError, match="no finished run"):
            load(tmp_path)
    module = make_backbone(**settings())
    more = {"settings": settings(), "intensity": INTENSITY, "pool": ("src",)}
    folder = tmp_path / "backbone"
    export_backbone(folder, weights(module), **more)
    load_backbone(tmp_path)
    (folder / "backbone.json").unlink()  # as a run that was killed while exporting leaves it
    with pytest.raises(InputError, match="run it first"):
        load_backbone(tmp_path)
    export_backbone(folder, weights(module), **more)
    load_backbone(tmp_path)
