"""Fine-tuning compiles once for all folds, seeds, epochs, first weights and learning rates."""

import dataclasses

import jax
import numpy as np
import pytest

from assl_jax.evaluation.classification import Augmentation, Classification
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.step import make_step


@pytest.fixture
def compiled():
    """An entry for each program that is compiled."""
    events = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.slow
@pytest.mark.parametrize("balance, shift", [("none", 1), ("weights", 2)])
def test_folds_and_seeds_share_one_trace(toy, compiled, balance, shift):
    labels = np.arange(len(toy.images), dtype=np.int32) % 2
    # Another task than those of other tests, so that nothing is compiled yet.
    task = Classification(classes=2, augmentation=Augmentation(shift=shift))
    training = Training(steps=9, batch_size=8)  # epochs of three and of two batches
    feed = Feed(toy.images, make_mesh(jax.devices()[:1]), "device")
    target = Target(toy.backbone, task, feed, labels, training, batch_size=16, balance=balance)
    faster = dataclasses.replace(training, optimiser=Optimiser(learning_rate=0.01))
    faster = dataclasses.replace(target, training=faster)
    step = make_step(toy.backbone, task, training.optimiser)
    assert step._cache_size() == 0
    rows = np.arange(26)
    folds = stratified_folds(labels[rows], 2, seed=0)
    pretrained = toy.state().variables
    for seed in (0, 1):
        for fold in (*folds, rows[:4]):  # the last one smaller than a batch
            kept = np.setdiff1d(rows, fold)
            for variables in (None, pretrained):
                session = Session(seed=seed)
                state = (faster if seed else target).finetune(variables, kept, session)
                assert target.probabilities(state, fold).shape == (len(fold), 2)
        first, compiled[:] = len(compiled), []
        assert bool(first) == (seed == 0)  # the second seed and another rate compile nothing
    assert make_step(toy.backbone, task, training.optimiser) is step
    assert step._cache_size() == 1
