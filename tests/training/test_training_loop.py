"""Stopping, resuming, and losses that are not numbers."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError, Interrupted
from assl_jax.objectives.joint import Joint
from assl_jax.training import logging, loop
from assl_jax.training.checkpoint import CheckpointPolicy, Checkpoints
from assl_jax.training.loop import Logging, batch_indices, schedule
from assl_jax.training.sharding import make_mesh

STEPS = 7


def assert_same(a, b):
    """Bit for bit, every leaf."""
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


@pytest.fixture
def stop_after(monkeypatch):
    """Make `stop_requested` true from the k-th step on."""

    def patch(k):
        calls = iter(range(1, 1000))
        monkeypatch.setattr(loop, "stop_requested", lambda *_: k is not None and next(calls) >= k)

    return patch


@pytest.fixture
def checkpoints(tmp_path):
    opened = []

    def open(every=None):
        policy = CheckpointPolicy(checkpoint_every=every) if every else None
        opened.append(Checkpoints(tmp_path / "checkpoints", policy))
        return opened[-1]

    yield open
    for manager in opened:
        manager.close()


@pytest.fixture(scope="module")
def uninterrupted(toy):
    return toy.fit(steps=STEPS)


@pytest.mark.parametrize("k", [1, 4])
def test_a_stopped_run_resumes_and_equals_an_uninterrupted_one(
    toy, uninterrupted, stop_after, checkpoints, k
):
    stop_after(k)
    with pytest.raises(Interrupted, match=f"step {k} of {STEPS}"):
        toy.fit(steps=STEPS, checkpoints=checkpoints())
    stop_after(None)
    # With another first state: everything must come from the checkpoint.
    resumed = toy.fit(steps=STEPS, checkpoints=checkpoints(), state=toy.state(key=8))
    assert int(resumed.step) == STEPS
    assert_same(resumed, uninterrupted)


def test_a_killed_run_resumes_from_its_last_checkpoint(toy, uninterrupted, checkpoints, tmp_path):
    def die(record):
        if record["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.fit(
            steps=STEPS,
            checkpoints=checkpoints(every=2),
            logging=Logging(every=1, record=toy.Log(die)),
        )
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"2", "4"}
    resumed = toy.fit(steps=STEPS, checkpoints=checkpoints(), state=toy.state(key=8))
    assert_same(resumed, uninterrupted)


def test_a_finished_run_is_restored_without_a_step(toy, uninterrupted, checkpoints):
    toy.fit(steps=STEPS, checkpoints=checkpoints())
    log = toy.Log()
    again = toy.fit(
        steps=STEPS,
        checkpoints=checkpoints(),
        state=toy.state(key=8),
        logging=Logging(record=log),
    )
    assert_same(again, uninterrupted)
    assert not log.records


@pytest.mark.slow
def test_checkpoint_of_eight_devices_serves_two(toy, stop_after, checkpoints):
    stop_after(3)
    with pytest.raises(Interrupted):
        toy.fit(steps=4, devices=8, checkpoints=checkpoints())
    stop_after(None)
    mesh = make_mesh(jax.devices()[:2])
    manager = checkpoints()
    assert manager.latest == 3
    state = manager.restore(toy.state(key=8), mesh)
    assert all(len(leaf.sharding.device_set) == 2 for leaf in jax.tree.leaves(state))
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state))
    whole = toy.fit(steps=4)
    resumed = toy.fit(steps=4, state=state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), resumed, whole)


def test_stopping_without_checkpoints(toy, stop_after):
    stop_after(2)
    with pytest.raises(Interrupted, match="step 2 of 5"):
        toy.fit(steps=5)
    stop_after(5)
    assert int(toy.fit(steps=5).step) == 5  # after the last step nothing is left to stop


def test_records_are_means_per_task(toy):
    logs = [toy.Log(), toy.Log()]
    toy.fit(steps=5, logging=Logging(every=3, record=logs[0], run="cv 0 1"))
    toy.fit(steps=5, logging=Logging(every=1, record=logs[1]))
    every, each = (log.records for log in logs)
    assert {r["run"] for r in every} == {"cv 0 1"} and {r["run"] for r in each} == {""}
    names = [toy.pool.parts[i].name for i in schedule(2, 5, 0)]
    assert [(r["step"], r["task"]) for r in each] == list(enumerate(names, 1))
    assert [r["step"] for r in every if r["step"] > 3] == [5] * len(set(names[3:]))
    first = {r["task"]: r for r in every if r["step"] == 3}
    assert set(first) == set(names[:3])
    for task, record in first.items():
        losses = [r["loss"] for r in each[:3] if r["task"] == task]
        assert record["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert record["steps"] == 5 and record["images_per_s"] > 0
    assert each[1]["learning_rate"] == pytest.approx(1e-3 * 0.5 * (1 + np.cos(np.pi / 5)))


@pytest.mark.parametrize("spoil", ["loss", "gradient"])
def test_a_step_that_is_not_a_number_keeps_the_last_good_checkpoint(toy, checkpoints, spoil):
    """One image, first used at step 5, spoils the step before the third checkpoint."""
    batches = [set(batch_indices(toy.rows, 8, step, 1).tolist()) for step in range(6)]
    bad = min(batches[5] - set.union(*batches[:5]))
    images = toy.images.copy()
    images[bad] = 255
    task = toy.Brightness(limit=1.5, spoil=spoil)
    settings = {"objective": task, "steps": 8, "seed": 1}
    with pytest.raises(InputError, match=rf"the {spoil}.* task brightness .* step 5\b") as error:
        toy.fit(**settings, images=images, checkpoints=checkpoints(every=2))
    assert "checkpoint" in str(error.value) and "\n" not in str(error.value)
    manager = checkpoints(every=2)
    assert manager.latest == 4
    # Without the cause, the run resumes.
    resumed = toy.fit(**settings, checkpoints=manager, state=toy.state(task, key=8))
    assert_same(resumed, toy.fit(**settings))


def test_the_progress_line_shows_what_was_last_observed(toy, capsys):
    values = {"knn_accuracy": 0.4321, "effective_rank": 7.25, "other": 1.0}
    logging = Logging(title="toy", every=2, observe=lambda s: values, record=toy.Log())
    toy.fit(steps=2, logging=logging)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "images/s  rank 7.2  k-NN 43.2 %" in shown or "images/s  k-NN 43.2 %  rank 7.2" in shown
    assert "other" not in shown


def test_a_diverged_training_is_told_before_it_is_measured(toy):
    """Features of NaN have no effective rank, and the check must come first."""
    limited = toy.Brightness(limit=-1e9)  # every step is spoiled

    def observe(state):
        assert int(state.step) == 0, "measured after a spoiled step"
        return {}

    logging = Logging(every=50, observe=observe, observe_every=2, record=toy.Log())
    with pytest.raises(InputError, match="the loss of task brightness is nan at step 0"):
        toy.fit(limited, steps=6, logging=logging)


@pytest.mark.parametrize("joint", [False, True])
def test_few_steps_wait_for_the_device(toy, monkeypatch, joint):
    """A stop must wait for all of them. Each step waits for the one `AHEAD` steps before it."""
    added, waited, real = [], [], logging.Recent.add
    ready = jax.block_until_ready

    def add(self, step, metrics):
        added.append(metrics)
        real(self, step, metrics)

    monkeypatch.setattr(logging.Recent, "add", add)
    monkeypatch.setattr(logging.jax, "block_until_ready", lambda x: waited.append(x) or ready(x))
    objective = Joint(toy.pool.parts) if joint else toy.pool
    toy.fit(objective, steps=logging.AHEAD + 3, logging=Logging(every=100))
    assert len(added) == logging.AHEAD + 3 and len(added[0]) == (2 if joint else 1)
    assert [id(metrics) for metrics in waited] == [id(metrics) for metrics in added[:3]]
