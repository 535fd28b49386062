"""The example of `docs/adding_a_backbone.md` in every use that a backbone has."""

import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax import models
from assl_jax.errors import InputError
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.export import export_backbone, load_backbone
from assl_jax.evaluation.gradcam import grad_cam, guided_grad_cam
from assl_jax.models import Backbone, make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import init_state
from assl_jax.training.step import make_step

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_backbone.md"
SETTINGS = {"name": "densenet", "width": 1 / 16, "stem": "small", "delay": [0, 1]}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The page's blocks, run in order; the mapping is restored afterwards."""
    monkeypatch.setattr(models, "BACKBONES", dict(models.BACKBONES))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile("\n".join(blocks), PAGE.name, "exec"), {"__name__": "densenet"})


def test_it_fulfils_the_contract():
    backbone = make_backbone(**SETTINGS)
    assert isinstance(backbone, Backbone) and hash(backbone) == hash(make_backbone(**SETTINGS))
    x = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    maps, variables = jax.eval_shape(backbone.init_with_output, jax.random.key(0), x)
    # 4 channels, and 2 more in each of 2 layers per stage. The delayed axis skips one halving.
    assert {name: a.shape for name, a in maps.items()} == {
        "stem": (2, 8, 16, 4),
        "stage1": (2, 8, 16, 8),
        "stage2": (2, 4, 8, 12),
        "stage3": (2, 2, 4, 16),
        "last": (2, 2, 4, 16),
        "pooled": (2, 16),
    }
    assert variables["params"]["stage3_conv2"]["kernel"].shape == (3, 3, 14, 2)


def test_settings_without_a_field():
    for stem in ("small", "imagenet", "anything"):
        make_backbone("densenet", stem=stem)
    with pytest.raises(InputError, match="backbone.remat=True has no meaning for densenet") as e:
        make_backbone("densenet", remat=True)
    assert "\n" not in str(e.value)


@pytest.mark.slow
@pytest.mark.parametrize("space", [(8, 8), (4, 8, 8)])
def test_fine_tuning_then_grad_cam(space):
    entry = models.BACKBONES["densenet"]._replace(fixed={"layers": (1, 1)})  # compiles faster
    models.BACKBONES["densenet"] = entry
    backbone = make_backbone("densenet", width=1 / 16)
    task, optimiser = Classification(classes=3), Optimiser()
    rng = np.random.default_rng(0)
    examples = rng.integers(0, 256, (4, *space, 1), np.uint8), np.arange(4, dtype=np.int32) % 3
    state = init_state(jax.random.key(0), backbone, task, optimiser, examples)
    before = jax.device_get(state.variables)
    step = make_step(backbone, task, optimiser)
    state, metrics = step(state, Examples(examples, None), jax.random.key(0), np.float32(1e-3))
    assert np.isfinite(metrics["target"]["loss"])
    for old, new in zip(*map(jax.tree.leaves, (before, state.variables)), strict=True):
        assert np.abs(old - new).max() > 0
    kernel = state.params["heads"]["target"]["Dense_0"]["kernel"]
    about = (backbone, state.variables, kernel, Intensity()(examples[0]), jnp.asarray([0, 1, 2, 0]))
    cam, guided = grad_cam(*about), guided_grad_cam(*about)
    assert cam.shape == (4, *space) and guided.shape == (4, *space, 1)
    assert np.isfinite(cam).all() and np.abs(guided).max() > 0


@pytest.mark.slow
def test_export_then_load(tmp_path, drawn):
    backbone = make_backbone(**SETTINGS)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype(np.float32)
    variables = drawn(backbone.init, x)
    folder = tmp_path / "backbone"
    export_backbone(folder, variables, settings=SETTINGS, intensity=Intensity(), pool=["rotation"])
    loaded, weights = load_backbone(tmp_path)
    assert loaded == backbone
    jax.tree.map(np.testing.assert_array_equal, weights, variables)
    np.testing.assert_array_equal(
        loaded.apply(weights, x)["pooled"], backbone.apply(variables, x)["pooled"]
    )


def test_side_by_side_passes_the_settings_on():
    single, several = make_backbone(**SETTINGS), make_backbone(**SETTINGS, copies=2)
    x = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    maps = jax.eval_shape(several.init_with_output, jax.random.key(0), x)[0]
    assert maps["last"].shape[-1] == 2 * 16 and maps["pooled"].shape == (2, 32)
    seen = []

    def counted(x):
        seen.append(x.shape)
        return nn.relu(x)

    for network, relus in ((single, 7), (several, 14)):
        seen.clear()
        jax.eval_shape(network.clone(activation=counted).init, jax.random.key(0), x)
        assert len(seen) == relus and isinstance(network, Backbone)
