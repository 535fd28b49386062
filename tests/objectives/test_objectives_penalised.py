"""What the penalty of Self-ASSL does to a training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.lcka import linear_cka
from assl_jax.objectives.alternating import Alternating
from assl_jax.objectives.penalised import Penalised
from assl_jax.objectives.penalty import Penalty
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.loop import Logging, schedule
from assl_jax.training.optimiser import Optimiser

pytestmark = pytest.mark.slow


@pytest.fixture
def fit(toy):
    """`fit(penalty, **settings)`: train the pool away from the network of key 5."""
    frozen = {"first": toy.state(key=5).variables}

    def run(penalty, tasks=toy.pool.parts, **settings):
        pool = Alternating(tuple(Penalised(part=task, penalty=penalty) for task in tasks))
        return toy.fit(pool, frozen=frozen, **settings)

    return run


def test_there_is_no_jump_at_weight_zero(toy, fit):
    plain, faint, loud = (
        state.params["backbone"]["conv"]["kernel"]
        for state in (toy.fit(), fit(Penalty(weight=1e-7, queue=0)), fit(Penalty(queue=0)))
    )
    np.testing.assert_allclose(plain, faint, atol=1e-4)
    assert np.abs(plain - loud).max() > 1e-3


@pytest.mark.parametrize("queue", [0, 4])
def test_the_sign_says_where_features_go(toy, fit, queue):
    """Forty steps from another start: pushed away, without penalty, and pulled closer."""
    images = toy.Brightness().intensity(jnp.asarray(toy.images))
    target = toy.backbone.apply(toy.state(key=5).variables, images)["pooled"]

    def similarity(state):
        own = toy.backbone.apply(state.variables, images, train=True, mutable=["batch_stats"])[0]
        return float(linear_cka(own["pooled"], target))

    def trained(sign):
        penalty = Penalty(weight=3.0, sign=sign, queue=queue, standardise="features")
        return fit(penalty, [toy.brightness], **settings)

    settings = {"optimiser": Optimiser(learning_rate=1e-2), "steps": 40}
    away, closer = (similarity(trained(sign)) for sign in ("complementary", "as_printed"))
    alone = similarity(toy.fit(toy.brightness, **settings))
    assert away < 0.75 * alone and closer > 1.1 * alone


def test_eight_devices_and_resuming_change_nothing(fit, tmp_path):
    penalty = Penalty(weight=0.5, queue=6)
    alone, eight = fit(penalty), fit(penalty, devices=8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), alone, eight)
    constant = Optimiser(schedule="constant")
    for steps in (4, 6):  # the second resumes from the checkpoint of the first
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        resumed = fit(penalty, steps=steps, checkpoints=checkpoints, optimiser=constant)
        checkpoints.close()
    whole = fit(penalty, optimiser=constant)
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    # Each task has a queue of its own: 6 times 4 rows, of which each of its steps fills 8.
    counts = np.bincount(schedule(2, 6, 0))
    queues = [whole.carry[task].queue for task in ("brightness", "contrast")]
    assert [int(queue.filled) for queue in queues] == np.minimum(8 * counts, 24).tolist()
    assert not np.array_equal(queues[0].own, queues[1].own)


def test_the_records_of_a_training_with_a_penalty(toy, fit):
    log = toy.Log()
    logging = Logging(
        every=1, record=log, observe=lambda s: {"seen": float(s.step)}, observe_every=4
    )
    fit(Penalty(weight=0.5, queue=0), logging=logging)
    held_out = [(r["step"], r["seen"]) for r in log.records if r["task"] == "held_out"]
    assert held_out == [(0, 0.0), (4, 4.0), (6, 6.0)]
    for record in (r for r in log.records if r["task"] != "held_out"):
        assert record["penalty"] == pytest.approx(0.5 * max(record["similarity"], 0), abs=1e-6)
        assert record["loss"] == pytest.approx(record["proxy_loss"] + record["penalty"], abs=1e-5)
