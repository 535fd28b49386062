"""Features and re-estimated running statistics, against direct and NumPy computations."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh

ROWS = np.asarray([7, 3, 29, 0, 3, 11, 12, 13, 14, 28, 27, 1, 2])


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [4, 256])
@pytest.mark.parametrize("place", ["device", "host"])
def test_features_are_those_of_a_direct_call_in_order(
    backbone, variables, images, intensity, mesh, batch_size, place
):
    x = features(
        backbone,
        variables,
        Feed(images, mesh, place),
        ROWS,
        intensity=intensity,
        batch_size=batch_size,
    )
    direct = backbone.apply(variables, (images[ROWS] / np.float32(255) - 0.4) / 0.3)["pooled"]
    assert type(x) is np.ndarray and x.shape == (13, 4) and x.dtype == np.float32
    np.testing.assert_allclose(x, direct, rtol=0, atol=1e-5)
    assert np.abs(x - x[::-1]).max() > 0.01  # the order matters


@pytest.mark.slow
def test_layers_are_averaged_over_space(backbone, variables, images, intensity):
    mesh = make_mesh(jax.devices()[:1])
    data = Feed(images, mesh)
    settings = {"intensity": intensity, "batch_size": 4}
    stem = features(backbone, variables, data, ROWS, layer="stem", **settings)
    maps = backbone.apply(variables, (images[ROWS] / np.float32(255) - 0.4) / 0.3)["stem"]
    assert stem.shape == (13, 3) and maps.shape == (13, 3, 3, 3)
    np.testing.assert_allclose(stem, np.asarray(maps).mean((1, 2)), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="layer='stage9'.*stage1"):
        features(backbone, variables, data, ROWS, layer="stage9", **settings)


def stem_convolution(x, kernel):
    """Kernel 3, stride 2, zero padding 1, by the definition."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((len(x), 3, 3, kernel.shape[-1]))
    for i in range(3):
        for j in range(3):
            window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            out[:, i, j] = np.einsum("bxyc,xycd->bd", window, kernel)
    return out


@pytest.mark.parametrize("batch_size, rows", [(8, np.arange(29, 9, -1)), (256, np.arange(16))])
def test_statistics_by_hand(backbone, variables, images, intensity, mesh, batch_size, rows):
    """20 rows in batches of 8: two whole batches, averaged; 16 rows in one batch."""
    before = jax.tree.map(np.array, variables)
    estimated = reestimate_batch_stats(
        backbone, variables, Feed(images, mesh), rows, intensity=intensity, batch_size=batch_size
    )
    kernel = np.asarray(variables["params"]["stem_conv"]["kernel"], np.float64)
    x = (images[rows[:16]] / 255 - 0.4) / 0.3
    y = stem_convolution(x, kernel).reshape(-1, min(batch_size, 16) * 9, 3)
    stats = estimated["batch_stats"]["stem_bn"]
    np.testing.assert_allclose(stats["mean"], y.mean(1).mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(stats["var"], y.var(1).mean(0), rtol=0, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, estimated["params"], before["params"])
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_a_remainder_is_left_out_and_no_image_counts_twice(backbone, variables, images, intensity):
    """13 rows on 8 devices are one batch of the first 8."""
    mesh = make_mesh()

    def stats(rows):
        data = Feed(images, mesh)
        return reestimate_batch_stats(backbone, variables, data, rows, intensity=intensity)[
            "batch_stats"
        ]

    jax.tree.map(np.testing.assert_array_equal, stats(ROWS), stats(ROWS[:8]))


@pytest.mark.slow
def test_evaluation_then_equals_training_mode(backbone, variables, images, intensity):
    mesh = make_mesh(jax.devices()[:1])
    data, rows = Feed(images, mesh), np.arange(20)
    estimated = reestimate_batch_stats(backbone, variables, data, rows, intensity=intensity)
    x = intensity(images[rows])
    trained, _ = backbone.apply(variables, x, train=True, mutable=["batch_stats"])
    evaluated = backbone.apply(estimated, x)
    stale = backbone.apply(variables, x)
    for name in trained:
        np.testing.assert_allclose(evaluated[name], trained[name], rtol=0, atol=1e-4)
        assert np.abs(stale[name] - trained[name]).max() > 0.05
    stem = np.asarray(evaluated["stem"]).reshape(-1, 3)
    np.testing.assert_allclose(stem.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(stem.var(0), 1.0, atol=1e-3)
