"""Every loss: a value by hand, gradient = finite differences, degenerate inputs."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from assl_jax import losses


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def bce(z_logits, a_logits):
    z, a = sigmoid(z_logits), sigmoid(a_logits)
    return np.mean(-z * np.log(a) - (1 - z) * np.log(1 - a), axis=-1)


def run(loss, *arguments, **settings):
    """One compilation instead of one for every operation."""
    return jax.jit(functools.partial(loss, **settings))(*arguments)


LABELS = np.array([2, 0, 1], np.int32)  # JAX keeps constants of 64 bits longer than `enable_x64`
TURNED = np.array([[0, 1, 0.25, 1], [1, 0, 0, 0.5], [1, 1, 0, 0]], np.float32)
MASK = (normal(20, 3, 4, 4, 1) > 0).astype(np.float32)
MCPC = normal(3, 3, 4), normal(4, 3, 2, 4)
CASES = {  # name -> a loss of its differentiable arguments, and those arguments
    "softmax_cross_entropy": (
        lambda x: losses.softmax_cross_entropy(x, jnp.asarray(LABELS)),
        (normal(0, 3, 4),),
    ),
    "binary_cross_entropy": (
        lambda x: losses.binary_cross_entropy(x, jnp.asarray(TURNED)),
        (normal(21, 3, 4),),
    ),
    "cross_entropy_matrix": (losses.cross_entropy_matrix, (normal(1, 3, 4), normal(2, 3, 4))),
    "mcpc_ratio": (losses.mcpc_loss, MCPC),
    "mcpc_ratio_sum": (functools.partial(losses.mcpc_loss, reduction="sum"), MCPC),
    "mcpc_info_nce": (functools.partial(losses.mcpc_loss, form="info_nce"), MCPC),
    "info_nce": (losses.info_nce, (normal(5, 3, 4), normal(6, 3, 4))),
    "nt_xent": (losses.nt_xent, (normal(7, 3, 4), normal(8, 3, 4))),
    "masked_l2": (
        lambda p, t: losses.masked_l2(p, t, jnp.asarray(MASK)),
        (normal(9, 3, 4, 4, 2), normal(10, 3, 4, 4, 2)),
    ),
}
EVERY = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name):
    loss, arguments = CASES[name]
    numbers = tuple(range(len(arguments)))
    return jax.jit(loss), jax.jit(jax.value_and_grad(lambda *a: loss(*a).sum(), numbers))


@EVERY
def test_gradient_matches_finite_differences(name):
    with jax.enable_x64(True):
        arguments = [np.asarray(a, np.float64) for a in CASES[name][1]]
        fast, with_grads = compiled(name)
        _, grads = with_grads(*arguments)
        for j, grad in enumerate(grads):
            assert np.abs(grad).max() > 1e-4
            for i in list(np.ndindex(*grad.shape))[::3]:
                ends = []
                for step in (1e-6, -1e-6):
                    moved = [a.copy() for a in arguments]
                    moved[j][i] += step
                    ends.append(float(fast(*moved).sum()))
                np.testing.assert_allclose(
                    grad[i], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7
                )


@EVERY
@pytest.mark.parametrize("fill", [0.0, 7.0, 1e4, -1e4, "huge"])
def test_degenerate_inputs_stay_finite(name, fill):
    arguments = CASES[name][1]
    if fill == "huge":
        arguments = [1e4 * a for a in arguments]
    else:
        arguments = [np.full_like(a, fill) for a in arguments]
    _, grads = compiled(name)[1](*arguments)
    assert np.isfinite(compiled(name)[0](*arguments)).all()
    assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("name", ["mcpc_ratio", "mcpc_info_nce", "info_nce", "nt_xent"])
def test_one_example(name):
    value, grads = compiled(name)[1](*[a[:1] for a in CASES[name][1]])
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)


@EVERY
def test_bfloat16_is_computed_in_float32(name):
    narrow = [jnp.asarray(a, jnp.bfloat16) for a in CASES[name][1]]
    value = compiled(name)[0](*narrow)
    assert value.dtype == jnp.float32
    wide = [np.asarray(a, np.float32) for a in narrow]
    np.testing.assert_allclose(value, compiled(name)[0](*wide), rtol=1e-6)


def test_softmax_cross_entropy_by_hand():
    logits = jnp.log(jnp.asarray([[1.0, 3.0], [1.0, 1.0]]))
    got = run(losses.softmax_cross_entropy, logits, jnp.asarray([1, 0]))
    np.testing.assert_allclose(got, np.log([4 / 3, 2]), rtol=1e-6)


def test_unlabeled_is_never_a_class():
    got = run(losses.softmax_cross_entropy, jnp.zeros((3, 2)), jnp.asarray([-1, 2, 1]))
    np.testing.assert_array_equal(jnp.isnan(got), [True, True, False])


def test_binary_cross_entropy_by_hand():
    # sigmoid(log 3) = 3/4.
    logits = jnp.log(jnp.asarray([[3.0, 3.0, 3.0], [1 / 3, 1.0, 1.0]]))
    got = run(losses.binary_cross_entropy, logits, jnp.asarray([[1, 0, 0.5], [1, 0, 0.3]]))
    hit, miss = np.log(4 / 3), np.log(4)
    np.testing.assert_allclose(
        got, [[hit, miss, (hit + miss) / 2], [miss, np.log(2), np.log(2)]], rtol=1e-6
    )


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_binary_cross_entropy_of_booleans_in_any_shape(shape):
    logits, yes = normal(22, *shape), np.asarray(normal(23, *shape) > 0)
    got = run(losses.binary_cross_entropy, jnp.asarray(logits), jnp.asarray(yes))
    p = sigmoid(logits)
    np.testing.assert_allclose(got, -np.log(np.where(yes, p, 1 - p)), rtol=1e-5)


def test_binary_cross_entropy_outside_probabilities():
    targets = jnp.asarray([-1.0, 0.0, 1.0, 1.1])
    got = run(losses.binary_cross_entropy, jnp.zeros(4), targets)
    np.testing.assert_array_equal(jnp.isnan(got), [True, False, False, True])


def test_binary_cross_entropy_of_certain_predictions_keeps_its_slope():
    """-log sigmoid(-50) is 50; the logarithm of a rounded probability would be infinite."""
    loss = jax.value_and_grad(lambda x: run(losses.binary_cross_entropy, x, jnp.zeros(1)).sum())
    value, slope = loss(jnp.asarray([50.0]))
    np.testing.assert_allclose([value, slope[0]], [50.0, 1.0], rtol=1e-6)


def test_cross_entropy_matrix_by_hand():
    # sigmoid(log 3) = 3/4: targets (3/4, 1/2) and (1/2, 1/4), prediction (3/4, 3/4).
    z = jnp.log(jnp.asarray([[3.0, 1.0], [1.0, 1 / 3]]))
    got = run(losses.cross_entropy_matrix, z, jnp.log(jnp.asarray([[3.0, 3.0]])))
    hit, miss = np.log(4 / 3), np.log(4)  # -log of 3/4 and of 1/4
    want = [
        ((0.75 * hit + 0.25 * miss) + (0.5 * hit + 0.5 * miss)) / 2,
        ((0.5 * hit + 0.5 * miss) + (0.25 * hit + 0.75 * miss)) / 2,
    ]
    np.testing.assert_allclose(got, [want], rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mcpc_ratio_by_loops(reduction):
    prediction, tiles = normal(12, 3, 5), normal(13, 3, 4, 5)
    want = []
    for i in range(3):
        positive = bce(tiles[i, -1], prediction[i])
        others = [(j, k) for j in range(3) for k in range(4) if (j, k) != (i, 3)]
        ratios = [positive / bce(tiles[j, k], prediction[i]) for j, k in others]
        want.append(np.mean(ratios) if reduction == "mean" else np.sum(ratios))
    got = run(losses.mcpc_loss, prediction, tiles, reduction=reduction)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_mcpc_ratio_by_hand():
    # One image, tiles sigmoid = 1/4 and 3/4, prediction 3/4: BCE of the positive over the other's.
    tiles = jnp.log(jnp.asarray([[[1 / 3], [3.0]]]))
    positive = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    negative = 0.25 * np.log(4 / 3) + 0.75 * np.log(4)
    got = run(losses.mcpc_loss, jnp.log(jnp.asarray([[3.0]])), tiles)
    np.testing.assert_allclose(got, [positive / negative], rtol=1e-5)


def test_mcpc_info_nce_by_loops():
    prediction, tiles = normal(14, 3, 5), normal(15, 3, 4, 5)
    want = []
    for i in range(3):
        logits = -bce(tiles.reshape(12, 5), prediction[i]) / 0.2
        want.append(np.log(np.exp(logits).sum()) - logits[4 * i + 3])
    got = run(losses.mcpc_loss, prediction, tiles, form="info_nce", temperature=0.2)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_info_nce_by_hand():
    queries, keys = jnp.asarray([[1.0, 0], [0, 2]]), jnp.asarray([[2.0, 0], [1, 1]])
    # Dot products [[2, 1], [0, 2]] over temperature 1/2: [[4, 2], [0, 4]].
    want = [np.log1p(np.exp(-2)), np.log1p(np.exp(-4))]
    np.testing.assert_allclose(
        run(losses.info_nce, queries, keys, temperature=0.5), want, atol=1e-6
    )
    # By default the dot products themselves.
    want = [np.log1p(np.exp(-1)), np.log1p(np.exp(-2))]
    np.testing.assert_allclose(run(losses.info_nce, queries, keys), want, atol=1e-6)


def test_nt_xent_by_hand():
    # Directions: image 1 along x in both views, image 2 along y and -y; lengths do not matter.
    a, b = jnp.asarray([[2.0, 0], [0, 1]]), jnp.asarray([[5.0, 0], [0, -3]])
    # Each view of image 1: similarities 1 to its other view, 0 to the rest; of image 2: -1, 0, 0.
    want = [np.log(np.exp(2) + 2) - 2, np.log(np.exp(-2) + 2) + 2]
    np.testing.assert_allclose(run(losses.nt_xent, a, b), want, rtol=1e-6)  # temperature 1/2


@pytest.mark.parametrize("b", [1, 2, 5, 16])
def test_nt_xent_by_loops_at_any_batch_size(b):
    views = np.stack([normal(17, b, 6), normal(18, b, 6)]).astype(np.float64)
    z = (views / np.linalg.norm(views, axis=-1, keepdims=True)).reshape(2 * b, 6)
    want = np.zeros(2 * b)
    for i in range(2 * b):
        other = np.exp([z[i] @ z[j] / 0.3 for j in range(2 * b) if j != i])
        want[i] = np.log(other.sum()) - z[i] @ z[(i + b) % (2 * b)] / 0.3
    got = run(losses.nt_xent, *views.astype(np.float32), temperature=0.3)
    np.testing.assert_allclose(got, want.reshape(2, b).mean(0), rtol=1e-5, atol=1e-6)


def test_masked_l2_by_hand():
    target = jnp.asarray([[[1.0, -3.0], [5.0, 5.0]], [[2.0, 0.0], [7.0, -1.0]]])
    prediction = jnp.asarray([[[2.0, 0.0], [9.0, 9.0]], [[1.0, 1.0], [7.0, 1.0]]])
    mask = jnp.asarray([[[1], [0]], [[1], [1]]])
    # Image 1: (1 + 9) / 2 channels; image 2: (1 + 1 + 0 + 4) / 4.
    for m in (mask, mask.astype(bool), mask.astype(jnp.float32)):
        got = run(losses.masked_l2, prediction, target, m)
        np.testing.assert_allclose(got, [5.0, 1.5], rtol=1e-6)
    # Without spatial axes the second position of image 2 is an example of its own.
    got = run(losses.masked_l2, prediction[1], target[1], jnp.ones((2, 1)))
    np.testing.assert_allclose(got, [1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (2, 4, 4, 4, 1)])
def test_masked_l2_of_an_empty_mask(shape):
    mask = jnp.zeros((*shape[:-1], 1))
    value, grad = jax.value_and_grad(
        lambda p: run(losses.masked_l2, p, jnp.ones(shape), mask).sum()
    )(jnp.zeros(shape))
    assert value == 0
    np.testing.assert_array_equal(grad, jnp.zeros(shape))


X, TILES = jnp.zeros((3, 4)), jnp.zeros((3, 2, 4))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.binary_cross_entropy(X, X[:, :1]), r"equal shapes, got \(3, 4\)"),
        (lambda: losses.mcpc_loss(X, TILES, form="nce"), "form='nce'.*'info_nce'"),
        (lambda: losses.mcpc_loss(X, TILES, reduction="max"), "reduction='max'.*mean, sum"),
        (lambda: losses.mcpc_loss(X, TILES, temperature=0.0), "temperature"),
        (lambda: losses.mcpc_loss(X, TILES[:, :1]), "m >= 2"),
        (lambda: losses.info_nce(X, X[:2]), "equal shapes"),
        (lambda: losses.nt_xent(X, X[:2]), "equal shapes"),
        (lambda: losses.nt_xent(X[:0], X[:0]), r"equal shapes.* got \(0, 4\) and \(0, 4\)"),
        (lambda: losses.nt_xent(X, X, temperature=-1.0), "temperature"),
        (lambda: losses.cosine_distance(X, X[:2]), "equal shapes"),
        (lambda: losses.masked_l2(TILES, TILES, TILES), "mask"),
    ],
)
def test_clear_errors(call, message, monkeypatch):
    # Users run without the shape checks of the test session, which would raise first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()


def test_cosine_distance_by_hand():
    a = jnp.array([[3.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    b = jnp.array([[1.0, 0.0], [-1.0, 1.0], [-5.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(losses.cosine_distance(a, b), [0, 2, 4, 2, 2], atol=1e-6)


def test_variance_hinge_by_hand():
    z = jnp.array([[0.0, 0.0, 5.0], [2.0, 0.5, 5.0]])  # deviations sqrt 2, sqrt 1/8 and 0
    expected = [0.0, 1 - np.sqrt(1 / 8 + 1e-4), 1 - 0.01]
    np.testing.assert_allclose(losses.variance_hinge(z), expected, rtol=1e-5, atol=1e-7)
    assert np.isfinite(jax.grad(lambda z: losses.variance_hinge(z).sum())(z)).all()


def test_covariance_penalty_equals_numpy():
    z = np.random.default_rng(0).normal(size=(9, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
    covariance = np.cov(z, rowvar=False)
    expected = (np.sum(covariance**2) - np.sum(np.diag(covariance) ** 2)) / 4
    np.testing.assert_allclose(losses.covariance_penalty(jnp.asarray(z)), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["variance_hinge", "covariance_penalty"])
@pytest.mark.parametrize("shape", [(1, 3), (4, 0)])
def test_batch_losses_need_two_rows(name, shape):
    with pytest.raises(ValueError, match=name):
        getattr(losses, name)(jnp.zeros(shape))


def test_masked_l2_is_a_mean_over_pixels_and_channels():
    """No two sides are equal, so that no other side can take a side's place."""
    mask = np.zeros((1, 2, 3, 1), np.float32)
    mask[0, 1, :2] = 1
    error = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    got = run(losses.masked_l2, error, np.zeros_like(error), mask)
    np.testing.assert_allclose(got, np.mean(np.arange(12, 20) ** 2), rtol=1e-6)
