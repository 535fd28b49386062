"""Backbones: shapes and parameter counts without computing; BatchNorm in a small network."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.models import BACKBONES, Backbone, make_backbone
from assl_jax.models.conv import Conv
from assl_jax.models.halving import max_pool
from assl_jax.models.resnet import BASIC, Block

STAGES = {"resnet": ["stage1", "stage2", "stage3", "stage4"]}
STAGES["vgg"] = [*STAGES["resnet"], "stage5"]


@pytest.mark.parametrize("name", ["resnet10", "resnet18", "resnet34", "vgg11", "vgg13", "vgg16"])
@pytest.mark.parametrize("space", [(64, 64), (32, 64, 96)])
def test_stages(shapes, name, space):
    features, _ = shapes(name, (2, *space, 1))
    resnet = name.startswith("resnet")
    kind = "resnet" if resnet else "vgg"
    assert set(features) == {*(["stem"] if resnet else []), *STAGES[kind], "last", "pooled"}
    assert features["last"].shape == features[STAGES[kind][-1]].shape
    widths = (64, 128, 256, 512, 512)
    first = 2 if resnet else 0  # halvings before stage 1: stem and pool
    for i, stage in enumerate(STAGES[kind]):
        want = (2, *(max(2, n >> (i + first)) for n in space), widths[i])
        assert features[stage].shape == want, stage
    if resnet:
        assert features["stem"].shape == (2, *(n // 2 for n in space), 64)
        assert features["stage4"].shape[1:3] == (max(2, space[0] // 32), space[1] // 32)
    assert features["pooled"].shape == (2, 512)


@pytest.mark.parametrize(
    "stem, first", [("imagenet", 4), ("quarter", 4), ("small", 1), ("half", 2)]
)
def test_stems(shapes, stem, first):
    features, _ = shapes("resnet10", (2, 32, 32, 3), stem=stem)
    assert features["stage1"].shape == (2, 32 // first, 32 // first, 64)
    assert features["stage4"].shape == (2, *(max(2, 4 // first),) * 2, 512)


@pytest.mark.parametrize("space", [(64, 64), (32, 64, 96)])
def test_bottlenecks_give_four_times_the_channels(shapes, space):
    """The block halves in its 3-wide convolution, as torchvision's does."""
    features, variables = shapes("resnet50", (2, *space, 1), width=1 / 4)
    channels = [features[name].shape[-1] for name in ("stem", *STAGES["resnet"], "pooled")]
    assert channels == [16, 64, 128, 256, 512, 512]
    strides = {}

    def look(run, args, kwargs, context):
        if isinstance(context.module, Conv):
            strides["/".join(context.module.path)] = context.module.stride
        return run(*args, **kwargs)

    backbone = make_backbone("resnet50", width=1 / 4)
    with nn.intercept_methods(look):
        jax.eval_shape(backbone.apply, variables, jnp.zeros((2, *space, 1)))
    assert strides["stage2_block1/conv2"] == strides["stage2_block1/shortcut_conv"]
    assert strides["stage2_block1/conv2"] == (2,) * len(space)
    assert {strides[f"stage2_block1/{conv}"] for conv in ("conv1", "conv3")} == {1}


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 3, 5, 4, 2)], ids=["2d", "3d"])
def test_shortcut_a_leaves_out_positions_and_adds_zeros(shape, quick_jit, drawn):
    """With convolutions of zeros a block is ReLU of its shortcut."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    stride = (2, 1, 2)[: len(shape) - 2]
    block = Block(BASIC, 6, stride, "A", jnp.float32, 0.9)
    variables = drawn(functools.partial(block.init, train=False), x)
    zeros = jax.tree.map(np.zeros_like, variables["params"])
    found = quick_jit(functools.partial(block.apply, train=False))(variables | {"params": zeros}, x)
    kept = x[:, ::2, :, ::2] if len(shape) == 5 else x[:, ::2]
    assert found.shape == (*kept.shape[:-1], 6)
    np.testing.assert_array_equal(found[..., : shape[-1]], np.maximum(kept, 0))
    np.testing.assert_array_equal(found[..., shape[-1] :], 0)


def test_width_multiplies_every_channel_count(shapes):
    features, variables = shapes("resnet18", (2, 32, 32, 3), width=1 / 4)
    assert [features[f"stage{i}"].shape[-1] for i in (1, 2, 3, 4)] == [16, 32, 64, 128]
    assert variables["params"]["stem_conv"]["kernel"].shape == (7, 7, 3, 16)
    assert shapes("vgg11", (2, 8, 8, 1), width=0.001)[0]["pooled"].shape == (2, 1)


@pytest.mark.parametrize("n", range(1, 8))
def test_max_pool_pads_as_pytorch(n):
    """The 3/2 pool with padding 1, and the 2/2 pool of VGG, on a line of n pixels."""
    line = np.random.default_rng(n).permutation(n).astype(np.float32) - 9
    image = jnp.asarray(line)[None, :, None, None]
    padded = [-np.inf, *line, -np.inf]
    got = max_pool(image, 3, 2, 1)[0, :, 0, 0]
    np.testing.assert_array_equal(got, [max(padded[i : i + 3]) for i in range(0, n, 2)])
    got = max_pool(image, 2, 2, 0)[0, :, 0, 0]
    want = [max(line[i : i + 2]) for i in range(0, n - 1, 2)] if n > 1 else line
    np.testing.assert_array_equal(got, want)


def test_max_pool_takes_one_number_for_each_axis():
    image = jnp.asarray([[1, 2, 8, 0], [5, 4, 3, 7], [0, 1, 2, 6]], jnp.float32)[None, ..., None]
    got = max_pool(image, (1, 2), (1, 2))[0, ..., 0]
    np.testing.assert_array_equal(got, [[2, 8], [5, 7], [1, 6]])
    got = max_pool(image, (3, 1), (2, 1), (1, 0))[0, ..., 0]
    np.testing.assert_array_equal(got, [[5, 4, 8, 7], [5, 4, 3, 7]])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"name": "vgg19"}, "backbone.name='vgg19' is unknown; did you mean 'vgg1[136]'"),
        ({"delay": (0, -1)}, r"backbone.delay=\(0, -1\) must hold one whole number from 0 up"),
        ({"delay": [1.0, 0], "name": "vgg11"}, r"backbone.delay=\[1.0, 0\] must hold"),
        ({"delay": (True, False)}, "must hold one whole number"),
        ({"delay": 3}, "backbone.delay=3 must hold one whole number from 0 up per axis"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message) as error:
        make_backbone(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_fulfils_the_contract(name, copies):
    backbone = make_backbone(name, width=1 / 16, copies=copies)
    assert isinstance(backbone, Backbone)
    x = jax.ShapeDtypeStruct((2, 16, 16, 1), jnp.float32)
    variables = jax.eval_shape(backbone.init, jax.random.key(0), x)
    changed = backbone.clone(bn_momentum=0.0, activation=jnp.tanh)
    text = str(jax.make_jaxpr(changed.apply)(variables, x))
    assert "tanh" in text and "relu" not in text  # the same weights, another activation


@pytest.mark.slow
@pytest.mark.parametrize("name, copies", [("resnet10", 1), ("vgg11", 1), ("resnet10", 2)])
def test_bn_momentum_reaches_every_batch_norm(quick_jit, drawn, name, copies):
    """With momentum 0 the new statistics do not depend on the old ones."""
    backbone = make_backbone(name, width=1 / 16, copies=copies).clone(bn_momentum=0.0)
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 1)).astype(np.float32)
    variables = drawn(backbone.init, x)
    other = variables | {"batch_stats": jax.tree.map(lambda a: a + 5, variables["batch_stats"])}
    run = quick_jit(lambda v: backbone.apply(v, x, train=True, mutable=["batch_stats"])[1])
    jax.tree.map(np.testing.assert_array_equal, run(variables), run(other))
