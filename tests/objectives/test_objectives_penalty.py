"""The penalty of Self-ASSL: its value, its gradient and its queue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.lcka import linear_cka
from assl_jax.objectives import penalty as module
from assl_jax.objectives.penalty import Penalty

RAW = {"standardise": "none"}


def drawn(seed, n=64, d=8):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, d)), jnp.float32)


def related(n=64, d=8):
    x = drawn(0, n, d)
    return x, x + drawn(1, n, d)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("sign, factor", [("complementary", 1), ("as_printed", -1)])
def test_value(estimator, sign, factor):
    x, y = related()
    penalty = Penalty(weight=0.7, sign=sign, estimator=estimator, **RAW)
    added, similarity, queue = penalty(x, y)
    assert similarity == pytest.approx(float(linear_cka(x, y, estimator=estimator)))
    assert added == pytest.approx(factor * 0.7 * float(similarity)) and queue is None


def test_standardised_features_have_equal_weights():
    """One strong common feature makes raw features similar; standardised, it is one of eight."""
    x, y = drawn(0), drawn(1)
    strong = drawn(2)[:, :1]
    x, y = (jnp.concatenate([100 * strong, f[:, 1:]], 1) for f in (x, y))
    raw, even = Penalty(weight=1.0, **RAW), Penalty(weight=1.0, standardise="features")
    assert raw(x, y)[1] > 0.99
    assert even(x, y)[1] < 0.3
    scaled = x * jnp.arange(1.0, 9.0)[None]
    assert even(scaled, y)[1] == pytest.approx(float(even(x, y)[1]), abs=1e-4)


@pytest.mark.slow
def test_whitened_directions_have_equal_weights(monkeypatch):
    """Eight features that are all nearly one direction: only whitening sees the other seven."""
    mix = drawn(4, 8)
    strong = drawn(2, 256)[:, :1] * jnp.ones((1, 8))
    x, y = (strong + 0.1 * drawn(seed, 256) @ mix for seed in (0, 1))
    monkeypatch.setattr(module, "RIDGE", 1e-3)
    seen = {
        name: float(Penalty(standardise=name)(x, y)[1]) for name in ("none", "features", "whiten")
    }
    assert seen["none"] > 0.8 and seen["features"] > 0.8 and seen["whiten"] < 0.3
    # Any invertible mixture of features has the same directions.
    monkeypatch.setattr(module, "RIDGE", 1e-6)
    other = Penalty(standardise="whiten")
    turned = x @ (mix + 3 * jnp.eye(8))
    assert other(turned, y)[1] == pytest.approx(float(other(x, y)[1]), abs=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows, estimator, standardise",
    [(0, "biased", "none"), (8, "biased", "features"), (0, "unbiased", "features")]
    + [(8, "unbiased", "whiten")],
)
def test_gradient_equals_finite_differences(rows, estimator, standardise):
    penalty = Penalty(weight=0.7, estimator=estimator, standardise=standardise, queue=rows)
    with jax.enable_x64(True):
        x, y = (np.asarray(f, float) for f in related(24, 5))
        queue = None
        if rows:
            queue = penalty.init_queue(5)
            for seed in (3, 5):
                own, frozen = np.asarray(drawn(seed, 24, 5)), np.asarray(drawn(seed + 1, 24, 5))
                queue = penalty(own, frozen, queue)[2]
        value = jax.jit(lambda x, y: penalty(x, y, queue)[0])
        gradient = jax.grad(value, argnums=(0, 1))(x, y)
        direction = np.asarray(drawn(7, 24, 5), float)
        slope = (value(x + 1e-5 * direction, y) - value(x - 1e-5 * direction, y)) / 2e-5
        assert abs(slope) > 1e-4
        assert np.vdot(gradient[0], direction) == pytest.approx(float(slope), rel=1e-5)
        assert not np.asarray(gradient[1]).any()  # f_p is frozen


@pytest.mark.slow
@pytest.mark.parametrize("standardise", ["none", "features", "whiten"])
@pytest.mark.parametrize("case", ["constant", "one constant", "equal", "zero"])
@pytest.mark.parametrize("sign", ["complementary", "as_printed"])
def test_degenerate_features_stay_finite(case, standardise, sign):
    x, y = related()
    x, y = {
        "constant": (jnp.ones_like(x), jnp.ones_like(y)),
        "one constant": (x, jnp.ones_like(y)),
        "equal": (x, x),
        "zero": (jnp.zeros_like(x), y),
    }[case]
    penalty = Penalty(weight=1.0, sign=sign, standardise=standardise)
    value, gradient = jax.value_and_grad(lambda x: penalty(x, y)[0])(x)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if case == "equal":
        assert penalty(x, y)[1] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_below_the_floor_nothing_is_pushed():
    x, y = related()
    similarity = float(Penalty()(x, y)[1])

    def gradient(floor):
        return jax.grad(lambda x: Penalty(weight=1.0, floor=floor)(x, y)[0])(x)

    assert not np.asarray(gradient(similarity + 0.05)).any()
    np.testing.assert_array_equal(gradient(similarity - 0.05), gradient(0.0))


@pytest.mark.slow
def test_queue_by_hand():
    """Six rows of memory, four a step: the penalty begins at the third step, over ten rows."""
    penalty = Penalty(weight=1.0, queue=2)
    queue = penalty.init_queue(3)
    steps = [(drawn(i, 4, 3), drawn(10 + i, 4, 3)) for i in range(3)]
    added = []
    for own, frozen in steps:
        value, similarity, queue = penalty(own, frozen, queue)
        added.append(float(value))
    assert added[:2] == [0.0, 0.0] and added[2] != 0.0
    own, frozen = (
        np.concatenate([steps[2][side], steps[1][side], steps[0][side][:2]]) for side in (0, 1)
    )
    alone = Penalty(weight=1.0)(jnp.asarray(own), jnp.asarray(frozen))
    assert added[2] == pytest.approx(float(alone[0]), abs=1e-6)
    np.testing.assert_array_equal(queue.own, own[:6])
    np.testing.assert_array_equal(queue.frozen, frozen[:6])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"estimator": "debiased"}, "self_assl.estimator='debiased'"),
        ({"floor": 1.0}, "self_assl.floor=1.0"),
        ({"floor": 0.5, "sign": "as_printed"}, "needs self_assl.sign=complementary"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Penalty(**settings)
