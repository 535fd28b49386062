"""The training loop: the same for proxy tasks, pools of them and the target task."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from assl_jax import signals
from assl_jax.console import Progress
from assl_jax.errors import Interrupted, require
from assl_jax.objectives.base import Metrics, Objective
from assl_jax.ranges import Count, Part, Range, check
from assl_jax.seeds import derived
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.feed import Examples, Feed
from assl_jax.training.interrupt import stop_requested
from assl_jax.training.logging import SILENT, Logging, Recent
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import check_batch, replicate
from assl_jax.training.state import TrainState
from assl_jax.training.step import make_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how a network is trained.

    Attributes:
      steps: optimiser steps.
      batch_size: images per step.
      accumulate: number of equal micro-batches that a step computes one after the other, for
        batches whose activations do not fit into memory; see `make_step` for what this changes.
      optimiser: see `Optimiser`.

    Raises:
      InputError: a number out of range, or a batch that does not divide into micro-batches.
    """

    steps: Annotated[int, Range(at_least=1, at_most=10**8)]
    batch_size: Annotated[int, Range(at_least=2)]
    accumulate: Count = 1
    optimiser: Part[Optimiser] = Optimiser()

    def __post_init__(self) -> None:
        check(self)
        require(
            self.batch_size % self.accumulate == 0 and self.micro_batch > 1,
            f"batch_size={self.batch_size} must be a multiple of accumulate={self.accumulate} "
            "and at least twice as large",
        )

    @property
    def micro_batch(self) -> int:
        """Images that are computed at once."""
        return self.batch_size // self.accumulate

    def check(self, mesh: Mesh, group: str = "") -> None:
        """Raise `InputError` unless a micro-batch can be split evenly over the devices.

        `group` precedes the setting's name in the message, as in "pretrain.".
        """
        whole = self.accumulate == 1
        name = f"{group}batch_size" if whole else f"({group}batch_size / accumulate)"
        check_batch(self.micro_batch, mesh, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """What is special to one call of `fit`.

    Attributes:
      seed: of batches, schedule and everything random inside the steps.
      until: the step to end with, `Training.steps` by default; the learning rate is that of the
        whole training.
      checkpoints: where checkpoints are written, and at which steps.
      logging: what is shown and recorded.
    """

    seed: int
    until: int | None = None
    checkpoints: Checkpoints | None = None
    logging: Logging = SILENT


def batch_indices(rows: np.ndarray, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The rows of batch `step`. Each epoch has a new order; an incomplete last batch is dropped.

    If there are fewer rows than a batch needs, they are repeated inside the batch as evenly as
    possible (few-label fine-tuning).
    """
    per_epoch = max(1, len(rows) // batch_size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(len(rows), per_epoch * batch_size, seed, epoch)
    return rows[order[position * batch_size : (position + 1) * batch_size]].astype(np.int32)


@functools.lru_cache(maxsize=2)
def _epoch_order(n: int, length: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of `n` positions, repeated or cut to `length`; drawn once per epoch."""
    return np.resize(np.random.default_rng(derived(seed, "epoch", epoch)).permutation(n), length)


def schedule(turns: int, steps: int, seed: int) -> np.ndarray:
    """The number of the turn that each step trains, drawn uniformly; see `Objective.turns`."""
    return np.random.default_rng(derived(seed, "schedule")).integers(turns, size=steps)


def fit(
    state: TrainState,
    objective: Objective,
    feed: Feed,
    training: Training,
    *,
    backbone: nn.Module,
    session: Session,
    frozen: Any = None,
) -> TrainState:
    """Train up to a step; a run that goes on from it ends as an uninterrupted one does.

    Args:
      state: the start; replaced by the newest checkpoint of the session if there is one.
      objective: what is trained; a seeded schedule draws one of its turns for each step.
      feed: the examples, those of them to train on, and the devices.
      training, backbone: how long and how, and the network.
      session: seed, end, checkpoints and log.
      frozen: networks in evaluation mode, see `Member.prepare`.

    Raises:
      InputError: a loss or a gradient that is not a finite number. The message names the step and
        the task; the last checkpoint stays.
      Interrupted: a stop was requested. A checkpoint was written if the session has `checkpoints`.
        If there are several processes, they all stop together at the next record or checkpoint.
    """
    mesh, checkpoints, logging = feed.mesh, session.checkpoints, session.logging
    title = logging.title or "training"
    training.check(mesh)
    state = replicate(state, mesh)
    state = checkpoints.resume(state, mesh) if checkpoints else state
    start, end = int(state.step), training.steps if session.until is None else session.until
    recent = Recent(training.steps, training.batch_size, logging)
    if start == 0:
        recent.observe(state)
    take = _taker(objective, training, backbone, session.seed, mesh, frozen)
    batches = feed.batches(
        batch_indices(feed.rows, training.batch_size, step, session.seed)
        for step in range(start, end)
    )
    with (
        signals.deferred(),
        Progress(logging.title, end, start) as progress,
        contextlib.closing(batches),
    ):
        for step, examples in enumerate(batches, start):
            state, metrics, rate = take(state, step, examples)
            recent.add(step, metrics)
            done, last = step + 1, step + 1 == end
            save = checkpoints is not None and checkpoints.due(done)
            due = done % logging.every == 0 or save or last
            stop = stop_requested(due)
            progress.update(done, recent.record(rate) if due or stop else None)
            if last or (logging.observe_every and done % logging.observe_every == 0):
                recent.observe(state)
            if checkpoints and (save or stop or (last and checkpoints.last)):
                checkpoints.save(done, state)
            if stop and not last:
                raise Interrupted(f"stopped at step {done} of {end} of {title}")
    return state


def _taker(
    objective: Objective,
    training: Training,
    backbone: nn.Module,
    seed: int,
    mesh: Mesh,
    frozen: Any,
) -> Callable[[TrainState, int, Examples], tuple[TrainState, dict[str, Metrics], float]]:
    """A function that takes a step: from state, number and examples to state, metrics and rate."""
    turns = schedule(len(objective.turns), training.steps, seed)
    rng, frozen = replicate((jax.random.key(seed), frozen), mesh)
    platform = mesh.devices.flat[0].platform

    def take(
        state: TrainState, step: int, examples: Examples
    ) -> tuple[TrainState, dict[str, Metrics], float]:
        turn = objective.turns[turns[step]]
        rate = training.optimiser.rate(step, training.steps)
        compiled = make_step(
            backbone, turn, training.optimiser, training.accumulate, platform=platform
        )
        part, metrics = compiled(state.only(turn), examples, rng, np.float32(rate), frozen)
        return state.merge(part), metrics, rate

    return take
