"""What a run will compute, how long that takes, and how much of it is left."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from assl_jax import console
from assl_jax.evaluation.classification import Classification
from assl_jax.records import Network
from assl_jax.strategies import pretraining
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.finetuning import runs_of
from assl_jax.strategies.mtassl import STAY
from assl_jax.strategies.settings import ACCEPT, SearchSettings
from assl_jax.strategies.stage import Stage, StageSpec, with_parents
from assl_jax.strategies.study import Study
from assl_jax.training.compute import PASSES, step_flops
from assl_jax.training.loop import Logging, Session, fit
from assl_jax.training.memory import peak_memory

TIMED_STEPS = 4  # of the first task; the first of them compiles and does not count
KNOWN = 0.1  # share of the work for which the pace of the plan counts, beside what is measured


class Work(NamedTuple):
    """Some stages of a plan.

    Attributes:
      title: what they are.
      steps: of training.
      flops: floating-point operations, see `training.compute`.
      finished: whether their results exist.
    """

    title: str
    steps: int
    flops: float
    finished: bool


class Pace(NamedTuple):
    """How fast this machine trains.

    Attributes:
      flops_per_s: of a training step.
      host_bytes, device_bytes: peak memory of these steps; None where it is not known.
    """

    flops_per_s: float
    host_bytes: int | None
    device_bytes: int | None


def price(study: Study, spec: StageSpec) -> tuple[int, float]:
    """Steps and floating-point operations of a stage, its predictions included."""
    if spec.kind == "pretrain":
        return pretraining.steps_of(study, spec.network), pretraining.flops_of(study, spec.network)
    if spec.kind not in ("finetune", "rate", "select"):
        return 0, 0.0
    dataset, settings = study.dataset, study.target
    task = Classification(classes=max(1, dataset.num_classes), intensity=dataset.intensity)
    size = settings.training.batch_size
    images = jax.ShapeDtypeStruct((size, *dataset.images.shape[1:]), dataset.images.dtype)
    each = step_flops(study.backbone, task, images, jax.ShapeDtypeStruct((size,), np.int32))
    runs = runs_of(study, spec).values()
    steps = len(runs) * settings.training.steps
    forward = each / PASSES / size * sum(len(run.test) for run in runs)
    return steps, steps * each + forward


def work(evidence: Evidence, title: str, specs: Iterable[StageSpec]) -> list[Work]:
    """Some stages as one piece of work; none if they have no steps."""
    specs = list(specs)
    prices = [price(evidence.study, spec) for spec in specs]
    steps, flops = (sum(column) for column in zip(*prices, strict=True)) if prices else (0, 0.0)
    finished = all(evidence.stages.find(spec) for spec in specs)
    return [Work(title, steps, flops, finished)] if steps else []


def planned(
    evidence: Evidence, networks: Sequence[Network], parts: Sequence[Network] = ()
) -> list[Work]:
    """The work of a study that begins with `networks`, and with training from scratch.

    Each network is pretrained, unless its weights are given, and fine-tuned; at a rung only on the
    folds. `parts` are only pretrained, because others build on them.
    """
    found = []
    for network in (*evidence.study.baselines, *parts, *networks):
        stages, words = _stages_of(evidence, [network]), evidence.study.words(network)
        own = [s for s in stages if s.kind == "pretrain" and s.network.repeated(0) == network]
        found += work(evidence, f"pretrain {words}", own)
        if network not in parts:
            others = [s for s in stages if s.kind != "pretrain"]
            found += work(evidence, f"fine-tune {words}", others)
    return found


def together(title: str, evidence: Evidence, networks: Sequence[Network]) -> list[Work]:
    """Further networks as one piece of work, without what they build on."""
    own = {*networks}
    stages = [s for s in _stages_of(evidence, networks) if s.network.repeated(0) in own]
    return work(evidence, title, stages)


def _stages_of(evidence: Evidence, networks: Sequence[Network]) -> list[StageSpec]:
    specs = [s for n in networks for s in evidence.specs(n, tested=n.share == 1)]
    return with_parents(specs)


def of_search(evidence: Evidence, settings: SearchSettings) -> list[Work]:
    """What a search does at most after its first networks.

    That is: the better half of the tasks at every rung, then a pool of each size, of the tasks
    whose steps cost most, and the control of the largest pool.
    """
    study = evidence.study

    def cost(name: str) -> float:
        return pretraining.step_flops_of(study, study.single(name))

    names, works = sorted(study.tasks, key=cost, reverse=True), []
    for share, later in itertools.pairwise((*settings.rungs, 1.0)):
        if len(names) <= STAY:
            break
        names = names[: (len(names) + 1) // 2]
        later = later if len(names) > STAY else 1.0
        further = [study.single(name, later) for name in names]
        works += together(f"after {share:g} of the steps, the better half", evidence, further)
    members = [*names, *(name for name in study.members() if name in study.given)]
    sizes = range(2, len(members) + 1)
    if not sizes:
        return works
    often = {k: len(members) - k + 1 if settings.candidates == "all" else 1 for k in sizes}
    pools = [study.pool(members[:k]) for k in sizes]
    each = [together("", evidence, [pool])[0] for pool in pools]
    every = [w for w, k in zip(each, sizes, strict=True) for _ in range(often[k])]
    works.append(_sum(f"pools, at most {len(every)}", every))
    networks = [study.single(names[0]), *pools, *(study.baselines if settings.gate else ())]
    if settings.control:
        networks.append(pretraining.longer(study, pools[-1], names[0]))
        works += together("one task as long as the largest pool", evidence, networks[-1:])
    if settings.select_on == "cv" and ACCEPT[settings.accept] is not None:
        # The last word compares them on a division for each size.
        again = [s for n in networks for s in evidence.specs(n, sizes, tested=False)]
        again = [s for s in again if s.kind == "select" and s.settings["division"]]
        works += work(evidence, "comparisons on further folds", again)
    return works


def _sum(title: str, works: Sequence[Work]) -> Work:
    finished = all(w.finished for w in works)
    return Work(title, sum(w.steps for w in works), sum(w.flops for w in works), finished)


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
    speed = float(np.median(speeds[1:])) / settings.batch_size
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
