"""Computes the stages of a plan, in their order, and keeps what is finished.

One rule serves every engine. A stage is computed when the stages that it reads are finished. One
that another command computes, which its lock tells, is looked at again later; so the jobs of an
array share a folder. One whose worker is lost is given to another worker, and continues from its
checkpoint.
"""

import collections
import concurrent.futures as futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from assl_jax.console import Progress, say
from assl_jax.errors import require
from assl_jax.records import Findings, StageRecord, StageResult
from assl_jax.store import Store
from assl_jax.strategies.engines import Engine, Here
from assl_jax.strategies.identity import commit
from assl_jax.strategies.stage import Plan, Stage, StageSpec, with_parents
from assl_jax.training.interrupt import check_stop
from assl_jax.training.memory import log_peak, peak_memory
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.processes import broadcast, gather, is_primary

PAUSE = 0.5  # seconds between two looks at stages that another command computes
ATTEMPTS = 3  # workers that a stage may lose

Compute = Callable[[StageSpec, Path], StageResult]


class Missing(Exception):
    """A stage is not finished, and looking up trains nothing."""


@dataclasses.dataclass
class Stages:
    """The finished stages of a run, and how others are computed.

    Attributes:
      store: where they lie.
      compute: computes a stage in the folder it gets, and returns the result.
      reuse_settings: also accept finished stages with the same settings but different code.
      finished: the stages that the plan has asked for, in its order, whoever computed them.
      told: is called with each stage of the plan that is computed or read, once.
    """

    store: Store
    compute: Compute
    reuse_settings: bool = False
    finished: dict[StageSpec, Stage] = dataclasses.field(default_factory=dict)
    told: Callable[[Stage], None] | None = None
    _found: dict[StageSpec, Stage] = dataclasses.field(default_factory=dict)
    _warned: bool = False

    @property
    def reused(self) -> tuple[str, ...]:
        """The names of the stages of the plan that `reuse_settings` accepted."""
        return tuple(s.name for s in self.finished.values() if s.name != s.spec.name)

    def get(self, spec: StageSpec) -> Stage:
        """A finished stage.

        Raises:
          Missing: it is not finished.
        """
        found = self.find(spec)
        if found is None:
            raise Missing(spec.name)
        return found

    def find(self, spec: StageSpec) -> Stage | None:
        """The finished stage of a specification whose parents are finished too; or None."""
        if spec not in self._found:
            parents = [self.find(parent) for parent in spec.parents]
            if any(parent is None for parent in parents):
                return None
            found: Any = broadcast(self._look(spec, parents) if is_primary() else None)
            if found is None:
                return None
            name, record = found
            record = msgspec.convert(record, StageRecord)
            self._found[spec] = Stage(spec, name, self.store.folder(name), record)
        return self._found[spec]

    def take(self, spec: StageSpec) -> bool:
        """Whether a stage of the plan is finished; that is told once."""
        stage = self.find(spec)
        if stage and self.told and spec not in self.finished:
            self.told(stage)
        return stage is not None

    def _look(self, spec: StageSpec, parents: Sequence[Stage | None]) -> list[Any] | None:
        """The name and the record of a finished stage; looks for what other code computed.

        A stage that is older than its parents was computed from other files.
        """
        if record := self.store.get(spec.name):
            return [spec.name, msgspec.to_builtins(record)]
        others = self.store.like(f"{spec.stem}-")
        since = max((self.store.finished_at(p.name) for p in parents if p), default=0)
        for name in others if self.reuse_settings else ():
            record = self.store.get(name)
            if record and self.store.finished_at(name) >= since:
                return [name, msgspec.to_builtins(record)]
        if others and not self._warned:
            self._warned = True
            say(
                f"the code has changed since {others[0]} was computed: the affected stages are "
                "computed again (--reuse=settings uses the finished ones)"
            )
        return None

    def make(self, spec: StageSpec) -> bool:
        """Compute a stage whose parents are finished; False if another command does."""
        require(
            len({*gather(spec.name)}) == 1,
            f"the processes run different stages ({spec.kind} {spec.network.label}); start all of "
            "them with the same command, data and version of the program",
        )
        with contextlib.ExitStack() as held:
            mine = held.enter_context(self.store.lock(spec.name)) if is_primary() else None
            if not broadcast(mine):
                return False
            if self.find(spec) is None:
                self._compute(spec)
            return True

    def _compute(self, spec: StageSpec) -> None:
        folder = self.store.begin(spec.name) if is_primary() else self.store.folder(spec.name)
        before = time.monotonic()
        with peak_memory() as peak:
            result = self.compute(spec, folder)
        log_peak(folder, peak)
        if is_primary():
            record = StageRecord(
                kind=spec.kind,
                network=spec.network,
                label=spec.network.label,
                settings=spec.settings,
                code=spec.source,
                commit=commit(),
                result=result,
                seconds=round(time.monotonic() - before, 3),
                images_per_s=MetricsLog(folder).speed() if spec.kind == "pretrain" else None,
                peak_host_bytes=peak.host,
                peak_device_bytes=peak.device,
            )
            self.store.put(spec.name, record)
        self.get(spec)


class Scheduler:
    """Carries out a plan.

    Args:
      stages: looks up and computes.
      engine: where stages are computed.
      message: what a worker of the engine is sent for a stage, a function and its arguments; by
        default this process computes it.
    """

    def __init__(
        self,
        stages: Stages,
        engine: Engine | None = None,
        message: Callable[[StageSpec], tuple] | None = None,
    ) -> None:
        self.stages, self.engine = stages, engine or Here()
        self._message = message or (lambda spec: (stages.make, spec))
        self._lost: collections.Counter[StageSpec] = collections.Counter()
        self._waited: set[StageSpec] = set()  # those that the user has been told of

    def carry_out(self, plan: Plan) -> Findings:
        """Compute what a plan asks for until it returns its findings."""
        try:
            while True:
                self.run(next(plan))
        except StopIteration as end:
            return end.value

    def run(self, specs: Sequence[StageSpec]) -> None:
        """Compute some stages and all that they read, unless they are finished.

        Raises:
          InputError: of a stage; or a stage that lost its worker again and again.
          Interrupted: a stop was requested.
        """
        every = with_parents(specs)
        left = [spec for spec in every if not self.stages.take(spec)]
        again: dict[StageSpec, float] = {}  # when to look at stages that another command computes
        running: dict[futures.Future, StageSpec] = {}
        several = self.engine.workers > 1 and left
        with Progress("stages" if several else "", len(left)) as progress:
            while left or running:
                self._submit(left, running, again)
                done, _ = futures.wait(running, PAUSE, futures.FIRST_COMPLETED)
                for future in done:
                    spec = running.pop(future)
                    if not self._made(spec, future):
                        left.insert(0, spec)
                        again[spec] = time.monotonic() + PAUSE
                if not done:
                    check_stop("the next stage")
                names = ", ".join(f"{s.kind} {s.network.label}" for s in running.values())
                progress.update(progress.total - len(left) - len(running), names)
        self.stages.finished |= {spec: self.stages.get(spec) for spec in every}

    def _submit(
        self,
        left: list[StageSpec],
        running: dict[futures.Future, StageSpec],
        again: dict[StageSpec, float],
    ) -> None:
        """Give work to the workers that are free; wait where all of it is another command's."""
        unfinished = {*left, *running.values()}
        ready = [spec for spec in left if unfinished.isdisjoint(spec.parents)]
        # Processes that train together have clocks of their own: the primary one decides.
        turn = [again.get(spec, 0.0) <= time.monotonic() for spec in ready]
        chosen = [spec for spec, now in zip(ready, broadcast(turn), strict=True) if now]
        for spec in chosen[: self.engine.workers - len(running)]:
            left.remove(spec)
            running[self.engine.executor().submit(*self._message(spec))] = spec
        if not running:
            for spec in {*ready} - self._waited:
                say(f"waiting for {spec.name}, which another process works on")
            self._waited |= {*ready}
            time.sleep(PAUSE)

    def _made(self, spec: StageSpec, future: futures.Future) -> bool:
        """Whether a stage is finished now; not if another command works on it."""
        try:
            made = future.result()
        except self.engine.lost as error:
            self._lost[spec] += 1
            require(
                self._lost[spec] < ATTEMPTS,
                f"{spec.kind} {spec.network.label} lost its worker {ATTEMPTS} times ({error}); is "
                "there enough memory?",
            )
            self.engine.renew()
            return False
        require(
            not made or self.stages.take(spec),
            f"a worker has computed {spec.name}, but it is not in the folder of the stages here; "
            "all machines must see the same folder",
        )
        return made
