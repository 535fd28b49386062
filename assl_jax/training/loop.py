"""The training loop: the same for proxy tasks, pools of them and the target task."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from assl_jax import signals
from assl_jax.console import Progress
from assl_jax.errors import InputError, Interrupted, require
from assl_jax.ranges import Count, Part, Range, check
from assl_jax.records import HELD_OUT
from assl_jax.seeds import derived
from assl_jax.tasks import Metrics, ProxyTask
from assl_jax.training.checkpoint import Checkpoints
from assl_jax.training.feed import Feed
from assl_jax.training.interrupt import stop_requested
from assl_jax.training.joint import Joint, JointSettings, parts_of
from assl_jax.training.metrics_log import Recorder
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.penalty import Penalty
from assl_jax.training.sharding import check_batch, replicate
from assl_jax.training.state import TrainState
from assl_jax.training.step import make_step

# How the progress line shows observed values.
OBSERVED: dict[str, Callable[[float], str]] = {
    "knn_accuracy": lambda value: f"  k-NN {100 * value:.1f} %",
    "effective_rank": lambda value: f"  rank {value:.1f}",
}


# Steps that may wait for the device. They keep it busy. But a stop has to wait for all of them, and
# a step of large volumes takes seconds on a CPU.
AHEAD = 4


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

        Args:
          mesh: the devices.
          group: precedes the setting's name in the message, as in "pretrain.".
        """
        whole = self.accumulate == 1
        name = f"{group}batch_size" if whole else f"({group}batch_size / accumulate)"
        check_batch(self.micro_batch, mesh, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
    """What a training shows and records while it runs.

    Attributes:
      title: of the progress bar; without one, no bar is shown.
      every: steps between two records; losses and gradients are checked for NaN at the same time.
      record: receives the records, see `metrics_log.recording`.
      run: the name of this training, if the log has several.
      observe: a function that measures the network at the start, at the end and every
        `observe_every` steps. Its values are recorded under the task name "held_out".
      observe_every: 0 for the start and the end alone.
    """

    title: str = ""
    every: int = 50
    record: Recorder | None = None
    run: str = ""
    observe: Callable[[TrainState], dict[str, float]] | None = None
    observe_every: int = 0


SILENT = Logging()


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


def task_schedule(tasks: int, steps: int, seed: int) -> np.ndarray:
    """The number of the task that each step trains, drawn uniformly (Doersch & Zisserman 2017)."""
    return np.random.default_rng(derived(seed, "schedule")).integers(tasks, size=steps)


def fit(
    state: TrainState,
    *,
    backbone: nn.Module,
    tasks: Mapping[str, ProxyTask],
    feed: Feed,
    rows: np.ndarray,
    training: Training,
    until: int | None = None,
    seed: int,
    penalty: Penalty | None = None,
    frozen: Any = None,
    checkpoints: Checkpoints | None = None,
    logging: Logging = SILENT,
    joint: JointSettings | None = None,
) -> TrainState:
    """Train up to a step; a run that goes on from it ends as an uninterrupted one does.

    Args:
      state: the start; replaced by the newest of `checkpoints` if there is one.
      backbone: the network.
      tasks: the pool; a seeded schedule draws one task for each step, unless `joint` is given.
      feed: the examples and the devices.
      rows: the examples to train on.
      training: how long and how.
      until: the step to end with, `training.steps` by default; the learning rate is that of the
        whole training.
      seed: of batches, schedule and everything random inside the steps.
      penalty: of Self-ASSL, see `Penalty`.
      frozen: variables of the frozen network that `penalty` compares with, or the teachers of a
        `Distillation`.
      checkpoints: where checkpoints are written, and at which steps.
      logging: what is shown and recorded.
      joint: train all tasks of the pool in every step.

    Raises:
      InputError: a loss or a gradient that is not a finite number. The message names the step and
        the task; the last checkpoint stays.
      Interrupted: a stop was requested. A checkpoint was written if `checkpoints` are given.
        If there are several processes, they all stop together at the next record or checkpoint.
    """
    mesh = feed.mesh
    training.check(mesh)
    state = replicate(state, mesh)
    if checkpoints:
        state = checkpoints.resume(state, mesh)
    start, steps = int(state.step), training.steps
    end = steps if until is None else until
    pool: list[ProxyTask | Joint] = list(tasks.values())
    if joint:
        pool = [Joint(tuple(tasks.values()), joint)]
    schedule = task_schedule(len(pool), steps, seed)
    rng = replicate(jax.random.key(seed), mesh)
    # If the penalty has weight 0, the frozen network is not needed; see `make_step`.
    frozen = None if penalty and not penalty.weight else replicate(frozen, mesh)
    recent = _Recent(training, logging)
    if start == 0:
        recent.observe(state)
    batches = feed.batches(
        batch_indices(rows, training.batch_size, step, seed) for step in range(start, end)
    )

    with (
        signals.deferred(),
        Progress(logging.title, end, start) as progress,
        contextlib.closing(batches),
    ):
        for step, examples in enumerate(batches, start):
            task = pool[schedule[step]]
            rate = training.optimiser.rate(step, steps)
            compiled = make_step(
                *(backbone, task, training.optimiser, penalty, training.accumulate),
                platform=mesh.devices.flat[0].platform,
            )
            names = [part.name for part in parts_of(task)]
            part, metrics = compiled(state.only(names), examples, rng, np.float32(rate), frozen)
            state = state.merge(part)
            by_task: Any = metrics if isinstance(task, Joint) else {task.name: metrics}
            for name, measured in by_task.items():
                recent.add(step, name, measured)
            done = step + 1
            last = done == end
            save = checkpoints is not None and checkpoints.due(done)
            due = done % logging.every == 0 or save or last
            stop = stop_requested(due)
            progress.update(done, recent.record(rate) if due or stop else None)
            if last or (logging.observe_every and done % logging.observe_every == 0):
                recent.observe(state)
            if checkpoints and (save or stop or (last and checkpoints.last)):
                checkpoints.save(done, state)
            if stop and not last:
                raise Interrupted(
                    f"stopped at step {done} of {end} of {logging.title or 'training'}"
                )
    return state


class _Measured(NamedTuple):
    """What a step returned; its metrics stay on the device until they are recorded."""

    step: int
    task: str
    metrics: Metrics


class _Recent:
    """The metrics of the steps since the last record."""

    def __init__(self, training: Training, logging: Logging) -> None:
        self._training, self._logging = training, logging
        self._measured: list[_Measured] = []
        self._observed = ""  # the last observation, as text
        self._since = time.monotonic()

    def add(self, step: int, task: str, metrics: Metrics) -> None:
        """Keep the metrics of a step, and wait for the one that is `AHEAD` steps back."""
        self._measured.append(_Measured(step, task, metrics))
        if len(self._measured) > AHEAD:
            jax.block_until_ready(self._measured[-1 - AHEAD].metrics)

    def record(self, rate: float) -> str:
        """Check, record and clear the metrics; return the text for the progress bar.

        There is one record for each task, with the means of its metrics.
        """
        measured = jax.device_get(self._measured)
        for each in measured:
            _check_finite(each)
        seconds = time.monotonic() - self._since
        steps = len({each.step for each in measured})
        speed = steps * self._training.batch_size / seconds
        rates = {"learning_rate": rate, "images_per_s": speed}
        last = measured[-1]
        for task in dict.fromkeys(each.task for each in measured):
            of_task = [each.metrics for each in measured if each.task == task]
            means = {key: float(np.mean([m[key] for m in of_task])) for key in of_task[0]}
            self._write(task, last.step + 1, {**means, **rates})
        self._measured, self._since = [], time.monotonic()
        return f"loss {last.metrics['loss']:.4f}  {speed:,.0f} images/s{self._observed}"

    def observe(self, state: TrainState) -> None:
        """Record what `Logging.observe` measures; its time does not count for the speed."""
        before = time.monotonic()
        if self._logging.observe and self._logging.record:
            for each in jax.device_get(self._measured):
                _check_finite(each)
            values = self._logging.observe(state)
            self._write(HELD_OUT, int(state.step), values)
            shown = OBSERVED.keys() & values.keys()
            self._observed = "".join(OBSERVED[name](values[name]) for name in sorted(shown))
        self._since += time.monotonic() - before

    def _write(self, task: str, step: int, values: Mapping[str, float]) -> None:
        if self._logging.record:
            self._logging.record(
                task=task,
                step=step,
                steps=self._training.steps,
                run=self._logging.run,
                values=values,
            )


def _check_finite(measured: _Measured) -> None:
    """Raise `InputError` if the loss or the gradient of a step is not finite."""
    # Check the gradient too: it can be non-finite when the loss is finite, and then bad weights
    # would be saved.
    for name in ("loss", "gradient_norm"):
        if not np.isfinite(measured.metrics[name]):
            raise InputError(
                f"the {name.replace('_', ' ')} of task {measured.task} is "
                f"{measured.metrics[name]} at step {measured.step}; the last good checkpoint is "
                "kept; lower the learning rate, or clip the gradient (clip_norm)"
            )
