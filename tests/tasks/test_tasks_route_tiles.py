"""src, mcpc and sc_assl: the right tiles in the right order, and their losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.losses import mcpc_loss
from assl_jax.tasks import Batch
from assl_jax.tasks.mcpc import MCPC
from assl_jax.tasks.sc_assl import SCASSL
from assl_jax.tasks.src import SRC


@pytest.mark.parametrize(
    "settings, space, sides, stride",
    [
        ({}, (26, 34), (10, 14), (5, 7)),
        ({}, (14, 20, 26), (4, 8, 10), (2, 4, 5)),
        ({"overlap": 0.25}, (64, 64), (20, 20), (15, 15)),
        ({"overlap": 0.25}, (32, 40, 32), (8, 12, 8), (6, 9, 6)),
        ({"overlap": 0.0}, (26, 34), (7, 9), (7, 9)),  # neighbours share no pixel
    ],
)
def test_tiles_are_the_pixels_of_the_route(
    make, coordinates, as_stored, settings, space, sides, stride
):
    task, b = SRC(**settings, intensity=as_stored), 64
    tiles, labels = make(task, coordinates(b, *space))[:2]
    tiles, routes = np.asarray(tiles), task.label_table(len(space))[np.asarray(labels)]
    rank, reach = len(space), 2 * np.asarray(stride)
    assert tiles.shape == (b, 2 * rank + 1, *sides, rank)
    # A tile is the box of its sides at its first pixel.
    start = tiles[(slice(None), slice(None), *[0] * rank)]
    box = coordinates(1, *sides)[0]
    np.testing.assert_array_equal(tiles, start[:, :, *[None] * rank] + box)
    # The route visits two opposite corners, so the least start is the crop's corner.
    corner = start.min(1)
    np.testing.assert_array_equal(start, corner[:, None] + routes * stride)
    assert (corner >= 0).all() and (corner + reach + sides <= np.asarray(space)).all()
    assert len(np.unique(corner, axis=0)) > 20
    np.testing.assert_array_equal(
        start[:, -1] - corner, np.where(routes[:, 0] == 0, reach, 0)
    )  # the last tile lies in the corner opposite the first
    steps = np.abs(np.diff(start, axis=1))
    np.testing.assert_array_equal((steps > 0).sum(-1), 1)  # along one axis at a time


def test_the_three_tasks_make_the_same_batch(make):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 16, 1), dtype=np.uint8)
    batches = [make(kind(), images) for kind in (SRC, MCPC, SCASSL)]
    for batch in batches[1:]:
        np.testing.assert_array_equal(batch.inputs, batches[0].inputs)
        np.testing.assert_array_equal(batch.targets, batches[0].targets)


@pytest.mark.slow
def test_sc_assl_is_the_weighted_sum(make, objective, quick_jit):
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 1), dtype=np.uint8)
    whole = SCASSL(mcpc_weight=0.3, form="info_nce", hidden=6)
    batch = make(whole, images)
    variables, loss = objective(whole, batch)
    total, metrics = quick_jit(loss)(variables, batch)
    parts = {}
    for task in (SRC(), MCPC(form="info_nce", hidden=6)):
        mine, loss = objective(task, batch)
        params = variables["head"]["params"][task.name]
        shapes = jax.tree.map(jnp.shape, mine["head"]["params"])
        assert shapes == jax.tree.map(jnp.shape, params)
        head = {"params": params}
        parts[task.name] = quick_jit(loss)({"backbone": variables["backbone"], "head": head}, batch)
    src, mcpc = parts["src"][0], parts["mcpc"][0]
    np.testing.assert_allclose(total, src + 0.3 * mcpc, rtol=1e-5)
    np.testing.assert_allclose([metrics["src_loss"], metrics["mcpc_loss"]], [src, mcpc], rtol=1e-5)
    assert metrics["accuracy"] == parts["src"][1]["accuracy"]


def test_the_order_of_the_tiles_reaches_the_route_head():
    """The features are concatenated in route order: a head that reads tile 0 alone."""
    z = np.zeros((2, 5, 3), np.float32)
    z[0, 0], z[1, 4] = 1, 1
    head = SRC().head()
    kernel = np.zeros((15, 24), np.float32)
    kernel[:3, 7] = 1
    params = {"Dense_0": {"kernel": kernel, "bias": np.zeros(24, np.float32)}}
    batch = Batch(jnp.zeros((2, 5, 4, 4, 1)), jnp.zeros(2, int))
    logits = head.apply({"params": params}, {"pooled": jnp.asarray(z)}, batch)
    np.testing.assert_array_equal(logits[:, 7], [3, 0])


def test_mcpc_predicts_the_last_tile_without_seeing_it(drawn, quick_jit):
    z = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
    batch = Batch(jnp.zeros((2, 5, 4, 4, 1)), jnp.zeros(2, int))
    head = MCPC().head()
    variables = drawn(head.init, {"pooled": z}, batch)
    predict = quick_jit(lambda z: head.apply(variables, {"pooled": z}, batch))
    prediction, tiles = predict(z)
    np.testing.assert_array_equal(tiles, z)
    for tile in range(5):
        moved = z.copy()
        moved[:, tile] += 1
        assert np.array_equal(predict(moved)[0], prediction) == (tile == 4)


@pytest.mark.parametrize("reduction, want", [("mean", 1.0), ("sum", 9.0)])
def test_mcpc_of_an_uninformative_prediction(quick_jit, reduction, want):
    """Logits 0 predict 1/2 everywhere: every cross-entropy is log 2, every ratio 1."""
    tiles = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 4)), jnp.float32)
    batch = Batch(tiles, jnp.zeros(2, int))
    loss, _ = quick_jit(MCPC(reduction=reduction).loss)((jnp.zeros((2, 4)), tiles), batch)
    np.testing.assert_allclose(loss, want, rtol=1e-4)


@pytest.mark.parametrize("kind", [MCPC, SCASSL])
def test_the_temperature_reaches_the_loss(quick_jit, kind):
    """`tests/test_losses.py` has the values of the loss."""
    rng = np.random.default_rng(1)
    given = [jnp.asarray(rng.standard_normal(n), jnp.float32) for n in ((2, 4), (2, 5, 4))]
    outputs = given if kind is MCPC else {"src": jnp.zeros((2, 24)), "mcpc": given}
    batch = Batch(jnp.zeros((2, 5, 4, 4, 1)), jnp.zeros(2, int))
    assert kind().temperature == 0.1
    for temperature in (0.1, 0.5, 2.0):
        task = kind(form="info_nce", temperature=temperature)
        loss, metrics = quick_jit(task.loss)(outputs, batch)
        want = mcpc_loss(*given, form="info_nce", temperature=temperature).mean()
        np.testing.assert_allclose(metrics.get("mcpc_loss", loss), want, rtol=1e-5)


def test_each_tile_can_change_its_brightness_on_its_own(make):
    """Tiles of a constant image are constant; with jitter they differ from one another."""
    images = np.full((16, 24, 24, 1), 100, np.uint8)
    plain, changed = (np.asarray(make(MCPC(jitter=j), images).inputs) for j in (0.0, 0.4))
    assert np.ptp(plain) < 1e-5
    within = np.ptp(changed, axis=(2, 3, 4))
    assert within.max() < 1e-4
    assert (np.ptp(changed[:, :, 0, 0, 0], axis=1) > 0.02).mean() > 0.9


def test_a_projection_stands_between_features_and_sigmoid(drawn, quick_jit):
    z = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
    batch = Batch(jnp.zeros((3, 5, 4, 4, 1)), jnp.zeros(3, int))
    head = MCPC(projection=2).head()
    variables = drawn(head.init, {"pooled": z}, batch)
    prediction, tiles = quick_jit(lambda z: head.apply(variables, {"pooled": z}, batch))(z)
    assert prediction.shape == (3, 2) and tiles.shape == (3, 5, 2)
    assert "projector" not in variables["params"] and "projection" in variables["params"]


@pytest.mark.slow
@pytest.mark.parametrize("balance, share", [("gradient", 0.5), ("equal", None)])
def test_sc_assl_balances_the_gradients_of_its_parts(drawn, quick_jit, balance, share):
    """At the features, the predictive gradient has the given share of the route gradient's norm."""
    z = np.random.default_rng(0).standard_normal((3, 5, 8)).astype(np.float32)
    batch = Batch(jnp.zeros((3, 5, 4, 4, 1)), jnp.zeros(3, jnp.int32))
    task = SCASSL(balance=balance, mcpc_weight=0.5)
    variables = drawn(task.head().init, {"pooled": z}, batch)

    def gradient(task, params=variables["params"]):
        def loss(z):
            outputs = task.head().apply({"params": params}, {"pooled": z}, batch)
            return task.loss(outputs, batch)[0]

        return np.asarray(quick_jit(jax.grad(loss))(z))

    src = gradient(SRC(), variables["params"]["src"])
    mcpc = gradient(MCPC(), variables["params"]["mcpc"])
    norms = np.linalg.norm(src), np.linalg.norm(mcpc)
    assert norms[1] < 0.3 * norms[0]
    factor = 0.5 if share is None else share * norms[0] / norms[1]
    np.testing.assert_allclose(gradient(task), src + factor * mcpc, atol=1e-5)
