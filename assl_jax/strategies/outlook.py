"""How fast this machine trains, and how much of a run is left."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from assl_jax import console
from assl_jax.strategies import pretraining
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.pricing import Work, price
from assl_jax.strategies.stage import Stage
from assl_jax.strategies.study import Study
from assl_jax.training.loop import Logging, Session, fit
from assl_jax.training.memory import peak_memory
from assl_jax.training.processes import broadcast

TIMED_STEPS = 4  # of the first task; the first of them compiles and does not count
KNOWN = 0.1  # share of the work for which the pace of the plan counts, beside what is measured


class Pace(NamedTuple):
    """How fast this machine trains.

    Attributes:
      flops_per_s: of a training step; several processes have that of the primary one.
      host_bytes, device_bytes: peak memory of these steps; None where it is not known.
    """

    flops_per_s: float
    host_bytes: int | None
    device_bytes: int | None


def pace(study: Study) -> Pace:
    """Time a few steps of the first task; the compiled step serves the training too."""
    name, task = next(iter(study.tasks.items()))
    rows, settings = study.dataset.unlabeled, study.pretrain.training
    devices = study.images.mesh.size
    size = min(settings.batch_size, len(rows) // devices * devices)
    speeds: list[float] = []

    def record(*, values: Mapping[str, float], **_: Any) -> None:
        speeds.append(values["images_per_s"])

    with peak_memory() as peak:
        fit(
            pretraining.fresh(study, task, jax.random.key(0)),
            task,
            study.images.select(rows),
            dataclasses.replace(settings, steps=TIMED_STEPS, batch_size=size),
            backbone=study.backbone,
            session=Session(seed=0, logging=Logging(every=1, record=record)),
        )
    per_step = pretraining.step_flops_of(study, study.single(name))
    speed = broadcast(float(np.median(speeds[1:])) / settings.batch_size)
    return Pace(speed * per_step, peak.host, peak.device)


class Outlook:
    """How much of a run is left, at least and at most; it learns from the stages that end."""

    def __init__(
        self, evidence: Evidence, begins: Sequence[Work], follows: Sequence[Work], pace: Pace
    ) -> None:
        """Begin to count, with the plan of a run."""
        left = [sum(w.flops for w in ws if not w.finished) for ws in (begins, follows)]
        self._least, self._most = left[0], sum(left)
        self._pace, self._done = pace, 0.0
        self._study, self._store = evidence.study, evidence.stages.store
        self._began, self._clock = time.time_ns(), time.monotonic()

    def finished(self, stage: Stage) -> None:
        """Count a stage, unless the plan knew that it is finished."""
        if self._store.finished_at(stage.name) >= self._began:
            self._done += price(self._study, stage.spec)[1]
            self.tell()

    def tell(self) -> None:
        """Say to the console how much is left."""
        known = KNOWN * self._most  # so that one short stage does not decide alone
        seconds = known / self._pace.flops_per_s + time.monotonic() - self._clock
        a_flop = seconds / (known + self._done) if self._most else 0.0
        console.expect(*(a_flop * max(0.0, n - self._done) for n in (self._least, self._most)))
