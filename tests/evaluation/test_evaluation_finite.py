"""Features and weights that are no usable numbers are refused; the line names the network."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.classification import probabilities
from assl_jax.evaluation.features import features
from assl_jax.evaluation.finite import NotFinite, check_finite, of_network
from assl_jax.lcka import lcka_matrix
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh

BAD = pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -2e30])


@BAD
def test_one_bad_value_is_enough(bad):
    x = np.zeros((3, 4), np.float32)
    check_finite("features", x, np.full(2, 9e29), np.empty((0, 4)))
    x[2, 3] = bad
    with pytest.raises(NotFinite, match="^features that are not finite, or above 1e"):
        check_finite("features", np.zeros(2), x)


def test_similarities_of_what_is_accepted_are_finite():
    """Features up to the bound leave no similarity that is not a number."""
    x = np.random.default_rng(0).uniform(-1, 1, (3, 20, 4)).astype(np.float32)
    scales = np.asarray([9e29, 1.0, 1e-30], np.float32)
    check_finite("features", *(features := list(scales[:, None, None] * x)))
    for estimator in ("biased", "unbiased"):
        found = np.asarray(lcka_matrix(features, estimator=estimator))
        assert np.isfinite(found).all() and np.abs(found[0, 1:]).min() > 1e-3


def test_the_network_is_named_once():
    with pytest.raises(InputError) as caught, of_network("vgg16/src"), of_network("rotation"):
        check_finite("features", np.asarray([np.nan]))
    assert str(caught.value).startswith("network rotation has features that are not finite")
    assert "\n" not in str(caught.value) and "vgg16" not in str(caught.value)
    with pytest.raises(InputError, match="^another$"), of_network("rotation"):
        raise InputError("another")


@BAD
def test_features_of_a_network(backbone, variables, images, intensity, bad):
    spoiled = jax.tree.map(np.array, variables)
    spoiled["params"]["bn"]["bias"][1] = abs(bad)
    with pytest.raises(NotFinite, match="features that are not finite"):
        features(
            backbone,
            spoiled,
            Feed(images, make_mesh(jax.devices()[:1])),
            np.arange(6),
            intensity=intensity,
            batch_size=6,
        )


@pytest.mark.parametrize("spoiled", ["kernel", "bias"])
@BAD
def test_probabilities_of_a_linear_head(spoiled, bad):
    head = {"kernel": np.zeros((4, 2), np.float32), "bias": np.zeros(2, np.float32)}
    x = np.full((3, 4), 9e29, np.float32)
    np.testing.assert_array_equal(probabilities(x, **head), 0.5)
    np.testing.assert_array_equal(
        probabilities(x, head["kernel"] + np.float32([9e29, 0]), head["bias"]), [[1, 0]] * 3
    )
    head[spoiled][..., 1] = bad
    with pytest.raises(NotFinite, match="weights of its linear head that are not finite"):
        probabilities(x, **head)
