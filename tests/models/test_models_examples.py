"""The networks of `examples/` in every use of a backbone: dropout, position embeddings, a delay.

Images go through the ConvNeXt and volumes through the ViT, and both through both where it is cheap.
Neither has BatchNorm.
"""

import importlib
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.features import reestimate_batch_stats
from assl_jax.models import Backbone, make_backbone
from assl_jax.models.base import batch_norm, feature_maps, in_training
from assl_jax.models.contract import check_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import make_task
from assl_jax.training.feed import Examples, Feed
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh, split
from assl_jax.training.state import init_state, name_key
from assl_jax.training.step import forward, make_step

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {
    "ConvNeXt": {"blocks": (1, 1), "patch": 2, "kernel": 3},
    "ViT": {"blocks": 1, "heads": 2, "patch": 4, "grid": 3},
}
SPACE = {2: (12, 12), 3: (6, 12, 12)}
ONE_EACH = pytest.mark.parametrize("kind, rank", [("ConvNeXt", 2), ("ViT", 3)])
OPTIMISER = Optimiser(learning_rate=0.01, schedule="constant")


@pytest.fixture
def network(monkeypatch):
    """`network(kind, **fields)`: a small network."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def make(kind, **fields):
        module = importlib.import_module(kind.lower())
        return getattr(module, kind)(**{"width": 1 / 16, "drop": 0.5, **SMALL[kind], **fields})

    return make


def images_of(rank, n=8):
    return np.random.default_rng(rank).integers(0, 256, (n, *SPACE[rank], 1), dtype=np.uint8)


def equal(a, b):
    same = jax.tree.map(lambda x, y: bool((np.asarray(x) == np.asarray(y)).all()), a, b)
    return all(jax.tree.leaves(same))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("rank", SPACE)
def test_they_keep_the_contract_for_tiles_and_whole_images(network, kind, rank):
    backbone = network(kind)
    sizes = [SPACE[rank], (3,) * rank]
    maps = check_backbone(
        backbone, [jax.ShapeDtypeStruct((2, *size, 1), jnp.float32) for size in sizes]
    )
    # 12 pixels are 6 patches of 2, which a stage halves, or 3 patches of 4; 6 slices 3 or 2.
    deepest = {
        ("ConvNeXt", 2): (3, 3, 8),
        ("ConvNeXt", 3): (3, 3, 3, 8),
        ("ViT", 2): (3, 3, 8),
        ("ViT", 3): (2, 3, 3, 8),
    }
    assert maps["last"].shape == (2, *deepest[kind, rank]) and maps["pooled"].shape == (2, 8)
    assert isinstance(backbone, Backbone) and hash(backbone) == hash(network(kind))


def test_settings_reach_the_densenet_that_has_a_field_for_them(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    name = "densenet:DenseNet"
    for stem in ("small", "imagenet", "anything"):  # has no meaning for it
        backbone = make_backbone(name, width=1 / 16, stem=stem, delay=[0, 1])
    assert isinstance(backbone, Backbone)
    maps = check_backbone(backbone, [jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)])
    # 4 channels, and 2 more in each of 2 layers per stage. The delayed axis skips one halving.
    assert {name: a.shape for name, a in maps.items()} == {
        "stem": (2, 8, 16, 4),
        "stage1": (2, 8, 16, 8),
        "stage2": (2, 4, 8, 12),
        "stage3": (2, 2, 4, 16),
        "last": (2, 2, 4, 16),
        "pooled": (2, 16),
    }
    with pytest.raises(InputError, match="backbone.remat=True has no meaning for densenet:Dense"):
        make_backbone(name, remat=True)


@pytest.mark.slow
@ONE_EACH
def test_a_key_decides_what_is_dropped_and_without_one_nothing_is(
    network, drawn, quick_jit, kind, rank
):
    backbone, mesh = network(kind), make_mesh()
    x = Intensity()(images_of(rank))
    variables = jax.tree.map(jnp.asarray, drawn(backbone.init, x))
    run = quick_jit(lambda x, key: in_training(backbone, variables, x, key)[0]["pooled"])
    a, again, b = (run(x, jax.random.key(k)) for k in (1, 1, 2))
    assert equal(a, again) and np.abs(a - b).max() > 1e-3
    shared = run(jax.device_put(x, split(mesh)), jax.random.key(1))
    assert len(shared.devices()) == 8
    np.testing.assert_allclose(shared, a, rtol=0, atol=1e-5)
    plain = quick_jit(lambda x: (in_training(backbone, variables, x), backbone.apply(variables, x)))
    (maps, stats), expected = plain(x)
    assert stats == {} and equal(maps, expected)


def test_statistics_are_estimated_without_dropout(drawn):
    class Dropped(nn.Module):
        bn_momentum: float = 0.9

        @nn.compact
        def __call__(self, x, *, train=False):
            x = nn.Dropout(0.5, deterministic=not train)(x)
            return feature_maps(
                {"stage1": batch_norm(train, jnp.float32, self.bn_momentum, "bn")(x)}
            )

    backbone, images = Dropped(), images_of(2)
    variables = drawn(backbone.init, jnp.zeros(images.shape, jnp.float32))
    feed, rows = Feed(images, make_mesh(jax.devices()[:1]), "device"), np.arange(8)
    found = reestimate_batch_stats(backbone, variables, feed, rows, intensity=Intensity())
    expected = np.var(Intensity()(images))
    np.testing.assert_allclose(found["batch_stats"]["bn"]["var"], expected, rtol=1e-5)


@pytest.mark.slow
@ONE_EACH
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_step_and_micro_batch_has_its_own_dropout(network, quick_jit, kind, rank, accumulate):
    backbone, task = network(kind), make_task("rotation")
    images, key = jnp.asarray(images_of(rank)), jax.random.key(5)
    state = init_state(jax.random.key(0), backbone, task, OPTIMISER, images)
    step = make_step(backbone, task, OPTIMISER, accumulate=accumulate)
    run = quick_jit(
        lambda state, part, key: task.loss(
            forward(backbone, task, state.params, {}, part, key)[1], part
        )[0]
    )
    losses = []
    for number in (0, 1):
        state = state._replace(step=jnp.asarray(number))
        rng = jax.random.fold_in(key, number)
        batch, dropout = task.make_batch(rng, images), name_key(rng, "dropout rotation")
        expected = []
        for k in range(accumulate):
            part = jax.tree.map(lambda a, k=k: a[k::accumulate], batch)
            own = jax.random.fold_in(dropout, k) if accumulate > 1 else dropout
            expected.append(float(run(state, part, own)))
        kept = jax.tree.map(jnp.copy, state)
        _, metrics = step(kept, Examples(images, None), key, np.float32(0.01))
        assert float(metrics["rotation"]["loss"]) == pytest.approx(np.mean(expected), rel=1e-4)
        losses.append(expected)
    assert len(np.unique(np.round(losses, 6))) == 2 * accumulate
