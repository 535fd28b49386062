"""The example of `docs/adding_a_backbone.md` in every use that a backbone has."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from assl_jax import models
from assl_jax.errors import InputError
from assl_jax.models import Backbone, make_backbone

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
