"""The small networks between features and losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.base import feature_maps
from assl_jax.models.heads import (
    MLP,
    Decoder,
    NextFeature,
    doublings,
    flatten_views,
    last_map,
    unflatten_views,
)
from assl_jax.ops.resample import resize

KEY = jax.random.key(0)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize(
    "small, space",
    [
        ((1, 1), (8, 8)),
        ((2, 2), (7, 13)),
        ((3, 2), (12, 5)),
        ((4, 4), (4, 4)),
        ((8, 8), (6, 6)),
        ((1, 2, 2), (5, 8, 9)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_decoder_reaches_any_size(small, space, channels):
    decoder = Decoder(channels)
    x = jax.ShapeDtypeStruct((2, *small, 32), jnp.bfloat16)
    image, variables = jax.eval_shape(
        lambda key, x: decoder.init_with_output(key, x, space), KEY, x
    )
    assert image.shape == (2, *space, channels) and image.dtype == jnp.float32
    assert list(variables) == ["params"]


def test_decoder_halves_its_channels_down_to_the_width():
    variables = jax.eval_shape(
        lambda key: Decoder(3, 8).init(key, jnp.zeros((1, 1, 1, 32)), (16, 16)), KEY
    )
    kernels = [variables["params"][f"Conv_{i}"]["kernel"].shape[-2:] for i in range(5)]
    assert kernels == [(32, 16), (16, 8), (8, 8), (8, 8), (8, 3)]


def test_decoder_sees_the_whole_map(quick_jit, drawn):
    """A change of one entry of the map changes the image, most of all at the place of the entry."""
    x = normal(0, 1, 4, 4, 8)

    decoder, space = Decoder(1, 8), (8, 8)
    variables = drawn(lambda key: decoder.init(key, x, space))
    image = quick_jit(lambda x: decoder.apply(variables, x, space)[0, ..., 0])
    change = np.abs(image(x.at[0, 0, 0].add(2.0)) - image(x))
    assert change[:3, :3].mean() > 3 * change[5:, 5:].mean() > 0


@pytest.mark.slow
def test_decoder_leaves_the_last_doublings_to_resizing(quick_jit, drawn):
    x, space = normal(0, 2, 1, 2, 2, 8), (5, 16, 16)
    assert doublings((1, 2, 2), space) == [(2, 4, 4), (4, 8, 8), (5, 16, 16)]
    for coarse, convolutions in ((0, 4), (1, 3), (2, 2), (9, 1)):
        decoder = Decoder(channels=1, width=4, coarse=coarse)
        variables = drawn(lambda key, x, d=decoder: d.init(key, x, space), x)
        names = [name for name in variables["params"] if name.startswith("Conv")]
        assert len(names) == convolutions
        image = quick_jit(lambda v, x, d=decoder: d.apply(v, x, space))(variables, x)
        assert image.shape == (2, *space, 1)
    # With no doubling left, the image is the small one resized.
    small = quick_jit(lambda v, x: decoder.apply(v, x, (1, 2, 2)))(variables, x)
    np.testing.assert_allclose(image, resize(small, space), atol=1e-5)


def test_next_feature_depends_on_every_step_and_on_their_order(quick_jit, drawn):
    z = normal(0, 3, 4, 6)
    variants = [
        z,
        z[:, ::-1],
        z[:, jnp.asarray([1, 0, 2, 3])],
        *(z.at[:, i].add(1) for i in range(4)),
    ]

    head = NextFeature()
    variables = drawn(head.init, z)
    predict = quick_jit(head.apply)
    first, *others = (predict(variables, v) for v in variants)
    assert list(variables) == ["params"] and first.shape == (3, 6)
    for other in others:
        assert np.abs(other - first).max() > 1e-3
    # Each image is predicted from its own sequence.
    assert np.abs(first[0] - first[1]).max() > 1e-3


@pytest.mark.parametrize("hidden, width", [(0, 6), (10, 10)])
def test_next_feature_hidden_width(hidden, width):
    variables = jax.eval_shape(NextFeature(hidden).init, KEY, jnp.zeros((2, 4, 6)))
    kernel = variables["params"]["Dense_0"]["kernel"]
    assert kernel.shape == (width, 6)


def test_mlp_by_hand():
    params = {
        "Dense_0": {"kernel": jnp.asarray([[1.0, -1.0]]), "bias": jnp.asarray([0.0, 0.5])},
        "Dense_1": {"kernel": jnp.asarray([[-2.0], [1.0]]), "bias": jnp.asarray([0.25])},
    }
    y = jax.jit(MLP([2, 1]).apply)({"params": params}, jnp.asarray([[3.0], [-1.0]]))
    # relu(3, -2.5) and relu(-1, 1.5); no ReLU at the end.
    np.testing.assert_allclose(y, [[-6 + 0.25], [1.5 + 0.25]])


def test_last_map_is_the_deepest_in_any_order_of_the_names():
    maps = {name: normal(i, 2, 3, 4, i + 1) for i, name in enumerate(["stem", "stage9", "stage10"])}
    sorted_by_jax = jax.tree.map(lambda x: x, feature_maps(maps))
    np.testing.assert_array_equal(last_map(sorted_by_jax), maps["stage10"])


def test_views_are_flattened_image_by_image():
    x = normal(0, 2, 3, 4, 5, 1)
    flat = flatten_views(x)
    np.testing.assert_array_equal(flat[4], x[1, 1])
    np.testing.assert_array_equal(unflatten_views(flat, 2), x)
