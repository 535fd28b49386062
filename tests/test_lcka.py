"""Linear CKA against slow float64 Gram-matrix references, and its invariances and limits."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from slow_cka import slow_cka

from assl_jax import lcka
from assl_jax.lcka import (
    Estimator,
    eq4_similarity,
    lcka_init,
    lcka_matrix,
    lcka_result,
    lcka_update,
    linear_cka,
)
from assl_jax.objectives.penalty import Penalty

BOTH = pytest.mark.parametrize("estimator", ["biased", "unbiased"])


jit_cka = jax.jit(linear_cka, static_argnames="estimator")
jit_grads = jax.jit(jax.value_and_grad(linear_cka, (0, 1)), static_argnames="estimator")


def related(seed, n=60, d1=7, d2=12):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d1)) * rng.uniform(0.3, 2, d1)
    y = x @ rng.standard_normal((d1, d2)) + 2 * rng.standard_normal((n, d2))
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("estimator, value", [("biased", 0.557613), ("unbiased", 0.513456)])
def test_published_reference_pair(estimator, value):
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    y = x + rng.randn(100, 10)
    np.testing.assert_allclose(linear_cka(x, y, estimator=estimator), value, atol=1e-5)


def test_value_by_hand():
    # Centred x = (-1, 1, -1, 1), y = (-1, -1, 1, 3) - 0.5: CKA of single features is corr^2.
    x, y = np.array([[0.0], [2], [0], [2]]), np.array([[-1.0], [-1], [1], [3]])
    # cov = (-1)(-1.5) + (1)(-1.5) + (-1)(.5) + (1)(2.5) = 2; |x|^2 = 4; |y|^2 = 11.
    np.testing.assert_allclose(linear_cka(x, y), 4 / 44, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("n", [4, 17, 300])
def test_matches_gram_reference(estimator, n):
    x, y = related(n, n=n)
    got = linear_cka(x, y, estimator=estimator)
    np.testing.assert_allclose(got, slow_cka(x, y, estimator), atol=2e-6)


@BOTH
def test_invariances_and_symmetry(estimator):
    x, y = related(1)
    q, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((7, 7)))
    base = linear_cka(x, y, estimator=estimator)
    assert 0.1 < base < 0.9
    for other in (x @ q.astype(np.float32), 1e-9 * x, 1e9 * x, x + 3, x[:, ::-1]):
        np.testing.assert_allclose(linear_cka(other, y, estimator=estimator), base, atol=2e-6)
    np.testing.assert_allclose(linear_cka(y, x, estimator=estimator), base, atol=1e-6)
    np.testing.assert_allclose(linear_cka(x, -2 * x + 1, estimator=estimator), 1, atol=1e-5)


@BOTH
def test_matrix_holds_the_pairs(estimator):
    x, y = related(3)
    z = np.random.default_rng(4).integers(0, 9, (60, 3))
    matrix = lcka_matrix([x, y, z], estimator=estimator)
    assert matrix.shape == (3, 3)
    np.testing.assert_array_equal(jnp.diagonal(matrix), 1.0)
    np.testing.assert_array_equal(matrix, matrix.T)
    for (i, a), (j, b) in [((0, x), (1, y)), ((0, x), (2, z)), ((1, y), (2, z))]:
        want = linear_cka(a, b, estimator=estimator)
        np.testing.assert_allclose(matrix[i, j], want, atol=1e-6)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("cuts", [[1, 4, 50], [59]])
def test_streaming_equals_one_shot(estimator, cuts):
    x, y = related(5)
    x = x + np.linspace(0, 20, 60, dtype=np.float32)[:, None]  # the batches differ
    y = y + 50
    update = jax.jit(lcka_update)
    state = lcka_init([7, 12])
    for a, b in zip(np.split(x, cuts), np.split(y, cuts), strict=True):
        state = update(state, [a, b])
    want = lcka_matrix([x, y], estimator=estimator)
    got = lcka_result(state, estimator=estimator)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(got[0, 1], slow_cka(x, y, estimator), atol=1e-5)


@BOTH
def test_row_chunks_change_nothing(estimator, monkeypatch):
    x, y = related(6)
    want = lcka_matrix([x, y], estimator=estimator)
    monkeypatch.setattr(lcka, "_CHUNK_ROWS", 25)
    np.testing.assert_allclose(lcka_matrix([x, y], estimator=estimator), want, atol=1e-6)


def test_a_new_estimator_is_computed_by_its_own_function(monkeypatch):
    """In the matrix, in a stream and in the penalty; also after it was replaced."""
    x, y = related(6)
    for factor in (0.5, 0.25):
        other = Estimator(3, lambda m, f=factor: m.covariances * (f + (1 - f) * jnp.eye(2)))
        monkeypatch.setitem(lcka.ESTIMATORS, "other", other)
        want = factor * linear_cka(x, y)
        found = lcka_matrix([x, y], estimator="other")[0, 1]
        np.testing.assert_allclose(found, want, rtol=1e-6)
        state = lcka_update(lcka_init([7, 12]), [x, y])
        np.testing.assert_allclose(lcka_result(state, estimator="other")[0, 1], want, rtol=1e-6)
        _, found, _ = Penalty(estimator="other", standardise="none")(x, y)
        np.testing.assert_allclose(found, want, rtol=1e-6)
    with pytest.raises(ValueError, match="the other estimator of linear CKA needs n >= 3"):
        linear_cka(x[:2], y[:2], estimator="other")


def test_a_similarity_that_is_no_linear_cka_is_an_entry_too(monkeypatch):
    """Here the cosine of the angle between two centred Gram matrices of an RBF kernel."""
    x, y = related(6)

    def rbf(features):
        grams = [jnp.exp(-((f[:, None] - f[None]) ** 2).mean(-1)) for f in features]
        centred = [k - k.mean(0)[None] - k.mean(1, keepdims=True) + k.mean() for k in grams]
        units = jnp.stack([k.ravel() / jnp.linalg.norm(k) for k in centred])
        return units @ units.T

    monkeypatch.setitem(lcka.ESTIMATORS, "rbf", Estimator(2, matrix=rbf))
    want = rbf([jnp.asarray(x), jnp.asarray(y)])[0, 1]
    assert linear_cka(x, y, estimator="rbf") == want
    _, found, _ = Penalty(estimator="rbf", standardise="none")(jnp.asarray(x), jnp.asarray(y))
    assert found == want
    with pytest.raises(ValueError, match="estimator='rbf' needs all features at once"):
        lcka_result(lcka_update(lcka_init([7, 12]), [x, y]), estimator="rbf")


@pytest.mark.parametrize("n", [3, 4])
def test_a_stream_counts_its_samples(n):
    """Not their sums, which are larger for many features.

    The terms of four samples are up to 13 times as large as what is left of them, so that float32
    is exact to about 13 roundings of 1.2e-7. Which of them happen depends on the processor.
    """
    features = np.random.default_rng(0).normal(size=(n, 16))
    pair = [features, features[::-1]]
    state = lcka_update(lcka_init([16, 16]), pair)
    if n == 4:
        with jax.enable_x64(True):
            expected = np.asarray(lcka_matrix(pair, estimator="unbiased"))
        np.testing.assert_allclose(lcka_result(state, estimator="unbiased"), expected, atol=2e-6)
    else:
        with pytest.raises(ValueError, match="needs n >= 4 samples, got n = 3"):
            lcka_result(state, estimator="unbiased")


@pytest.mark.slow
@BOTH
def test_gradient_matches_finite_differences(estimator):
    with jax.enable_x64(True):
        x, y = (np.asarray(f, np.float64) for f in related(8, n=9, d1=3, d2=4))
        _, (grad, _) = jit_grads(x, y, estimator=estimator)
        step, want = 1e-6, np.zeros(x.shape)
        for i in np.ndindex(*x.shape):
            shift = np.zeros(x.shape)
            shift[i] = step
            ends = [jit_cka(x + s, y, estimator=estimator) for s in (shift, -shift)]
            want[i] = (ends[0] - ends[1]) / (2 * step)
    assert np.abs(want).max() > 1e-2
    np.testing.assert_allclose(grad, want, atol=1e-6)
    _, (grad, _) = jit_grads(x.astype(np.float32), y.astype(np.float32), estimator=estimator)
    np.testing.assert_allclose(grad, want, atol=1e-5)


@BOTH
@pytest.mark.parametrize("value", [0.0, 3.1, -1e6, 1e-20])
def test_constant_features_stay_finite(estimator, value):
    x, _ = related(9)
    constant = np.full((60, 12), value, np.float32)
    for other in (x, constant[:, :7] + 1):
        got, grads = jit_grads(other, constant, estimator=estimator)
        np.testing.assert_allclose(got, 0, atol=1e-6)
        assert all(np.isfinite(g).all() for g in grads)
    np.testing.assert_array_equal(jnp.diagonal(lcka_matrix([x, constant])), 1.0)


def test_unbiased_self_similarity_of_an_outlier_stays_bounded():
    # All Gram entries off the diagonal vanish, so the unbiased self-HSIC is 0.
    x, y = np.eye(8, 1, dtype=np.float32), related(10, n=8)[1]
    assert abs(linear_cka(x, y, estimator="unbiased")) <= 1


def test_floor_of_independent_features():
    rng = np.random.default_rng(11)
    pairs = rng.standard_normal((5, 2, 64, 512)).astype(np.float32)
    biased = np.mean([linear_cka(x, y) for x, y in pairs])
    unbiased = np.mean([linear_cka(x, y, estimator="unbiased") for x, y in pairs])
    np.testing.assert_allclose(biased, 512 / (512 + 64), atol=0.01)
    np.testing.assert_allclose(unbiased, 0, atol=0.02)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, jnp.bfloat16, np.float16])
def test_other_dtypes_are_computed_in_float32(dtype):
    rng = np.random.default_rng(12)
    x, y = (jnp.asarray(rng.integers(0, 100, (40, 6)), dtype) for _ in range(2))
    got = linear_cka(x, y)
    assert got.dtype == jnp.float32
    want = slow_cka(x.astype(np.float32), y.astype(np.float32), "biased")
    np.testing.assert_allclose(got, want, atol=1e-6)


def shapes_of(jaxpr):
    for eqn in jaxpr.eqns:
        yield from (v.aval.shape for v in eqn.outvars)
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from shapes_of(inner)


@BOTH
def test_no_gram_matrix_over_samples(estimator):
    n, x = 500, np.zeros((500, 8), np.float32)
    grad = jax.grad(lambda a, b: lcka_matrix([a, b], estimator=estimator).sum())
    shapes = list(shapes_of(jax.make_jaxpr(grad)(x, x).jaxpr))
    assert (n, 8 + 2 + 1) in shapes  # the walk sees inside nested calls
    assert not [s for s in shapes if s.count(n) > 1]


def test_eq4_by_hand():
    # K_x = [[1, 2], [2, 4]], rows centred: [[-.5, .5], [-1, 1]]; K_y = [[9, 0], [0, 0]] likewise
    # [[4.5, -4.5], [0, 0]]; the element-wise product has absolute sum 2 * 2.25.
    x, y = np.array([[1.0], [2.0]]), np.array([[3.0], [0.0]])
    np.testing.assert_allclose(eq4_similarity(x, y), 4.5, rtol=1e-6)
    # Self-similarities: 2 * .25 + 2 * 1 = 2.5 and 2 * 20.25 = 40.5.
    want = 4.5 / np.sqrt(2.5 * 40.5)
    np.testing.assert_allclose(eq4_similarity(x, y, normalised=True), want, rtol=1e-6)
    for scale in (1e9, 1e-9):
        found = eq4_similarity(scale * x, y, normalised=True)
        np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_eq4_jit_and_gradient(normalised):
    def similarity(a, b):
        return eq4_similarity(a, b, normalised=normalised)

    x, y = related(13, n=6, d1=3, d2=4)
    fast, grad = jax.jit(similarity), jax.jit(jax.grad(similarity))
    np.testing.assert_allclose(fast(x, y), similarity(x, y), rtol=1e-5)
    with jax.enable_x64(True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        for i in [(0, 0), (3, 2), (5, 1)]:
            shift = np.zeros(x.shape)
            shift[i] = 1e-7
            want = (fast(x + shift, y) - fast(x - shift, y)) / 2e-7
            np.testing.assert_allclose(grad(x, y)[i], want, rtol=1e-4, atol=1e-6)
    assert np.isfinite(grad(np.zeros((6, 3)), y.astype(np.float32))).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: linear_cka(np.zeros((5, 2)), np.zeros((4, 2))), "same n"),
        (lambda: linear_cka(np.zeros(5), np.zeros((5, 2))), r"\[n, d\]"),
        (lambda: lcka_matrix([]), "non-empty"),
        (lambda: eq4_similarity(np.zeros((5, 2)), np.zeros((4, 2))), "same n"),
        (lambda: linear_cka(np.ones((1, 2)), np.ones((1, 2))), "n >= 2"),
        (lambda: linear_cka(*related(0, n=3), estimator="unbiased"), "n >= 4"),
        (lambda: linear_cka(*related(0), estimator="debiased"), "one of biased, unbiased"),
        (lambda: lcka_result(lcka_init([3, 4])), "n >= 2"),
        (lambda: lcka_init([]), "at least one"),
        (lambda: lcka_update(lcka_init([7, 11]), related(0)), r"\[7, 12\] differ"),
    ],
)
def test_clear_errors(call, message, monkeypatch):
    # Users run without the shape checks of the test session, which would raise first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()
