"""What a training shows and records while it runs."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from assl_jax.errors import InputError
from assl_jax.objectives.base import Metrics
from assl_jax.records import HELD_OUT
from assl_jax.training.metrics_log import Recorder
from assl_jax.training.state import TrainState

# How the progress line shows observed values.
OBSERVED: dict[str, Callable[[float], str]] = {
    "knn_accuracy": lambda value: f"  k-NN {100 * value:.1f} %",
    "effective_rank": lambda value: f"  rank {value:.1f}",
}

# Steps that may wait for the device. They keep it busy. But a stop has to wait for all of them, and
# a step of large volumes takes seconds on a CPU.
AHEAD = 4


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


class _Measured(NamedTuple):
    """What a step returned, by member; the metrics stay on the device until they are recorded."""

    step: int
    metrics: dict[str, Metrics]

    def check(self) -> None:
        """Raise `InputError` if a loss or a gradient is not finite."""
        # Check the gradient too: it can be non-finite when the loss is finite, and then bad weights
        # would be saved.
        for task, metrics in self.metrics.items():
            for name in ("loss", "gradient_norm"):
                if not np.isfinite(metrics[name]):
                    raise InputError(
                        f"the {name.replace('_', ' ')} of task {task} is {metrics[name]} at step "
                        f"{self.step}; the last good checkpoint is kept; lower the learning rate, "
                        "or clip the gradient (clip_norm)"
                    )


class Recent:
    """The metrics of the steps since the last record."""

    def __init__(self, steps: int, batch_size: int, logging: Logging) -> None:
        """Begin without a step; `steps` and `batch_size` are those of the training."""
        self._steps, self._batch_size, self._logging = steps, batch_size, logging
        self._measured: list[_Measured] = []
        self._observed = ""  # the last observation, as text
        self._since = time.monotonic()

    def add(self, step: int, metrics: dict[str, Metrics]) -> None:
        """Keep the metrics of a step, and wait for the step that is `AHEAD` steps back."""
        self._measured.append(_Measured(step, metrics))
        if len(self._measured) > AHEAD:
            jax.block_until_ready(self._measured[-1 - AHEAD].metrics)

    def record(self, rate: float) -> str:
        """Check, record and clear the metrics; return the text for the progress bar.

        There is one record for each member, with the means of its metrics.
        """
        measured = self._checked()
        seconds = time.monotonic() - self._since
        speed = len(measured) * self._batch_size / seconds
        rates = {"learning_rate": rate, "images_per_s": speed}
        last = measured[-1]
        for task in dict.fromkeys(name for each in measured for name in each.metrics):
            of_task = [each.metrics[task] for each in measured if task in each.metrics]
            means = {key: float(np.mean([m[key] for m in of_task])) for key in of_task[0]}
            self._write(task, last.step + 1, {**means, **rates})
        self._measured, self._since = [], time.monotonic()
        *_, shown = last.metrics.values()
        return f"loss {shown['loss']:.4f}  {speed:,.0f} images/s{self._observed}"

    def observe(self, state: TrainState) -> None:
        """Record what `Logging.observe` measures; its time does not count for the speed."""
        before = time.monotonic()
        if self._logging.observe and self._logging.record:
            self._checked()
            values = self._logging.observe(state)
            self._write(HELD_OUT, int(state.step), values)
            shown = OBSERVED.keys() & values.keys()
            self._observed = "".join(OBSERVED[name](values[name]) for name in sorted(shown))
        self._since += time.monotonic() - before

    def _checked(self) -> list[_Measured]:
        measured = jax.device_get(self._measured)
        for each in measured:
            each.check()
        return measured

    def _write(self, task: str, step: int, values: Mapping[str, float]) -> None:
        if self._logging.record:
            run = self._logging.run
            self._logging.record(task=task, step=step, steps=self._steps, run=run, values=values)
