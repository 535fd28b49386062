"""The training loop: the same for proxy tasks, pools of them and the target task."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from assl_jax.errors import InputError, Interrupted, require
from assl_jax.tasks import Metrics, ProxyTask
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.feed import Feed
from assl_jax.training.interrupt import stop_requested
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.penalty import Penalty
from assl_jax.console import Progress
from assl_jax.training.sharding import check_batch, replicate
from assl_jax.training.state import TrainState
from assl_jax.training.step import make_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how a network is trained.

    Attributes:
      steps: optimiser steps.
      batch_size: images per step.
      accumulate: equal parts that a step works through one after the other, for batches whose
        activations do not fit; where that is the same as the whole batch and where not, see
        `make_step`.
      optimiser: see `Optimiser`.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    optimiser: Optimiser = Optimiser()

    def __post_init__(self) -> None:
        require(self.steps > 0, f"steps={self.steps} must be above 0")
        require(self.batch_size > 1, f"batch_size={self.batch_size} must be above 1")
        require(self.accumulate >= 1, f"accumulate={self.accumulate} must be at least 1")
        require(
            self.batch_size % self.accumulate == 0 and self.part > 1,
            f"batch_size={self.batch_size} is not accumulate={self.accumulate} times 2 or more "
            "images; use a multiple of accumulate",
        )

    @property
    def part(self) -> int:
        """Images that are worked through at once."""
        return self.batch_size // self.accumulate

    def check(self, mesh: Mesh, group: str = "") -> None:
        """Raise `InputError` unless what is worked through at once divides over the devices.

        Args:
          group: before the setting's name, as in "pretrain.".
        """
        whole = self.accumulate == 1
        name = f"{group}batch_size" if whole else f"({group}batch_size / accumulate)"
        check_batch(self.part, mesh, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
    """What a loop tells while it runs.

    Attributes:
      title: of the progress bar; none is shown without one.
      every: steps between two records; losses and gradients are checked for NaN at the same
        time.
      record: called with a flat record `{"step", "steps", "task", "loss", ...}`.
      observe: measures the network from outside, at the start, the end and every `observe_every`
        steps between; what it returns is recorded as task "held_out".
    """

    title: str = ""
    every: int = 50
    record: Callable[[dict[str, Any]], None] | None = None
    observe: Callable[[TrainState], dict[str, float]] | None = None
    observe_every: int = 0


SILENT = Logging()


def batch_indices(rows: np.ndarray, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Rows of the images of batch `step`: a new order every epoch, the remainder left out.

    A set smaller than the batch is drawn from with repetition inside the batch as evenly as
    possible (few-label fine-tuning).
    """
    per_epoch = max(1, len(rows) // batch_size)
    epoch, place = divmod(step, per_epoch)
    order = _epoch_order(len(rows), per_epoch * batch_size, seed, epoch)
    return rows[order[place * batch_size : (place + 1) * batch_size]].astype(np.int32)


@functools.lru_cache(maxsize=2)
def _epoch_order(n: int, length: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of `n` positions, repeated or cut to `length`; drawn once per epoch."""
    return np.resize(np.random.default_rng([seed, epoch]).permutation(n), length)


def task_schedule(tasks: int, steps: int, seed: int) -> np.ndarray:
    """Which of `tasks` each step trains, drawn uniformly (Doersch & Zisserman 2017)."""
    return np.random.default_rng([seed, 0x7A5C]).integers(tasks, size=steps)


def fit(
    state: TrainState,
    *,
    backbone: nn.Module,
    tasks: Mapping[str, ProxyTask],
    feed: Feed,
    rows: np.ndarray,
    training: Training,
    seed: int,
    penalty: Penalty | None = None,
    frozen: Any = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 0,
    logging: Logging = SILENT,
) -> TrainState:
    """Train `state` to `training.steps` steps; a resumed run equals an uninterrupted one.

    Args:
      state: where to begin; replaced by the newest of `checkpoints`, if there is one.
      tasks: the pool; one task is drawn per mini-batch from a seeded schedule.
      feed: the examples and the devices.
      rows: which of the examples to train on.
      seed: of batches, schedule and everything random inside the steps.
      penalty, frozen: Self-ASSL, see `Penalty`, and the variables of the frozen first network.
      checkpoint_every: steps between checkpoints; the last step is always kept.

    Raises:
      InputError: a loss or gradient that is not a number (names step and task; the last
        checkpoint stays).
      Interrupted: a stop was asked for; a checkpoint was written if there is a place for it.
        Several processes hear of it at the next record or checkpoint and stop together.
    """
    mesh = feed.mesh
    training.check(mesh)
    state = replicate(state, mesh)
    if checkpoints and checkpoints.latest is not None:
        state = checkpoints.restore(state, mesh)
    start, steps = int(state.step), training.steps
    pool = list(tasks.values())
    schedule = task_schedule(len(pool), steps, seed)
    rng = replicate(jax.random.key(seed), mesh)
    # Handed over where it is needed alone: the plain step is one program, with and without it.
    frozen = replicate(frozen, mesh) if penalty and penalty.weight else None
    unchecked: list[tuple[int, str, Metrics]] = []
    if start == 0:
        _observe(state, steps, logging)
    since = time.monotonic()
    batches = feed.batches(
        batch_indices(rows, training.batch_size, step, seed) for step in range(start, steps)
    )

    with Progress(logging.title, steps, start) as progress, contextlib.closing(batches):
        for step, examples in enumerate(batches, start):
            task = pool[schedule[step]]
            rate = training.optimiser.rate(step, steps)
            compiled = make_step(
                *(backbone, task, training.optimiser, penalty, training.accumulate),
                platform=mesh.devices.flat[0].platform,
            )
            part, metrics = compiled(state.only(task.name), examples, rng, np.float32(rate), frozen)
            state = state.merge(part)
            unchecked.append((step, task.name, metrics))
            done = step + 1
            save = bool(checkpoint_every) and done % checkpoint_every == 0
            due = done % logging.every == 0 or save or done == steps
            stop = stop_requested(due)
            if due or stop:
                values = _checked(jax.device_get(unchecked))
                speed = len(unchecked) * training.batch_size / (time.monotonic() - since)
                _record(values, steps, rate, speed, logging)
                progress.update(done, f"loss {values[-1][2]['loss']:.4f}  {speed:,.0f} images/s")
                unchecked, since = [], time.monotonic()
            else:
                progress.update(done)
            if done == steps or (logging.observe_every and done % logging.observe_every == 0):
                since += _observe(state, steps, logging)
            if checkpoints and (save or stop or done == steps):
                checkpoints.save(done, state)
            if stop and done < steps:
                raise Interrupted(
                    f"stopped at step {done} of {steps} of {logging.title or 'training'}"
                )
    return state


def _checked(unchecked: list) -> list:
    # The gradient too: a finite loss can have one that is not, and the weights would be saved.
    for step, task, metrics in unchecked:
        for name in ("loss", "gradient_norm"):
            if not np.isfinite(metrics[name]):
                raise InputError(
                    f"the {name.replace('_', ' ')} of task {task} is {metrics[name]} at step "
                    f"{step}; the last good checkpoint is kept; lower the learning rate, or clip "
                    "the gradient (clip_norm)"
                )
    return unchecked


def _observe(state: TrainState, steps: int, logging: Logging) -> float:
    """Measure and record; the seconds that it took."""
    before = time.monotonic()
    if logging.observe and logging.record:
        place = {"step": int(state.step), "steps": steps, "task": "held_out"}
        logging.record({**place, **logging.observe(state)})
    return time.monotonic() - before


def _record(values: list, steps: int, rate: float, speed: float, logging: Logging) -> None:
    """One record per task seen since the last, with the mean of its metrics."""
    if logging.record is None:
        return
    for name in dict.fromkeys(task for _, task, _ in values):
        of_task = [metrics for _, task, metrics in values if task == name]
        means = {key: float(np.mean([m[key] for m in of_task])) for key in of_task[0]}
        place = {"step": values[-1][0] + 1, "steps": steps, "task": name}
        logging.record({**place, **means, "learning_rate": rate, "images_per_s": float(speed)})
