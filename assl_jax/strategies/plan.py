"""What a run will do and how long that takes, before it starts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from assl_jax.evaluation.classification import Classification
from assl_jax.strategies.finetuning import Run
from assl_jax.strategies.network import Network
from assl_jax.strategies.stages import Unfinished
from assl_jax.strategies.study import Study
from assl_jax.training.compute import PASSES, step_flops
from assl_jax.training.loop import Logging, Session, fit
from assl_jax.training.memory import peak_memory

TIMED_STEPS = 4  # of the first task; the first of them compiles and does not count


class Work(NamedTuple):
    """A pretraining, or all fine-tunings of a network.

    Attributes:
      title: what it is.
      steps: of training.
      flops: floating-point operations, see `training.compute`.
      finished: whether its result exists.
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


def planned(study: Study, networks: Sequence[Network], parts: Sequence[Network] = ()) -> list[Work]:
    """The work of a study that begins with `networks`, and with training from scratch.

    Each network is pretrained, unless its weights are given, and fine-tuned as `Evaluating.runs`
    says, at a rung only on the folds. `parts` are only pretrained, because others build on them.
    """
    found = []
    for network in (*study.baselines, *parts, *networks):
        works = works_of(study, network)
        found += works[:-1] if network in parts else works
    return [work for work in found if work.steps]  # without labels nothing is fine-tuned


def works_of(study: Study, network: Network) -> list[Work]:
    """The pretraining of a network, unless its weights are given, and its fine-tunings."""
    words, repeats = study.setup.words(network), study.pretraining.repeats(network)
    found, pretrained = [], True
    if network.pool and not study.setup.given(network):
        pretrained = all(_finished(study, study.pretraining.run, each) for each in repeats)
        steps = study.pretraining.steps_of(network) * len(repeats)
        flops = steps * study.pretraining.mixing.flops_of_a_step(network)
        found.append(Work(f"pretrain {words}", steps, flops, pretrained))
    tested = network.share == 1
    evaluate = study.evaluating.run if tested else study.evaluating.selection
    finished = pretrained and _finished(study, evaluate, network)
    steps, flops = finetuning(study, study.evaluating.runs(tested=tested))
    times = len(repeats)
    return [*found, Work(f"fine-tune {words}", times * steps, times * flops, finished)]


def _finished(study: Study, run: Callable[[Network], object], network: Network) -> bool:
    try:
        with study.setup.stages.without_computing():
            run(network)
    except Unfinished:
        return False
    return True


def finetuning(study: Study, runs: Sequence[Run]) -> tuple[int, float]:
    """Steps and operations of some fine-tunings of a network, their predictions included."""
    dataset, settings = study.setup.dataset, study.evaluating.settings
    task = Classification(classes=max(1, dataset.num_classes), intensity=dataset.intensity)
    size = settings.training.batch_size
    images = jax.ShapeDtypeStruct((size, *dataset.images.shape[1:]), dataset.images.dtype)
    labels = jax.ShapeDtypeStruct((size,), np.int32)
    each = step_flops(study.setup.backbone, task, images, labels)
    steps = len(runs) * settings.training.steps
    forward = each / PASSES / size * sum(len(run.test) for run in runs)
    return steps, steps * each + forward


def pace(study: Study) -> Pace:
    """Time a few steps of the first task; the compiled step serves the training too."""
    setup, settings = study.setup, study.pretraining.settings
    name, task = next(iter(setup.tasks.items()))
    rows = setup.dataset.unlabeled
    devices = setup.images.mesh.size
    size = min(settings.training.batch_size, len(rows) // devices * devices)
    training = dataclasses.replace(settings.training, steps=TIMED_STEPS, batch_size=size)
    speeds: list[float] = []

    def record(*, values: Mapping[str, float], **_: Any) -> None:
        speeds.append(values["images_per_s"])

    with peak_memory() as peak:
        fit(
            study.pretraining.fresh(jax.random.key(0), task, settings.training),
            task,
            setup.images.select(rows),
            training,
            backbone=setup.backbone,
            session=Session(seed=0, logging=Logging(every=1, record=record)),
        )
    per_step = study.pretraining.mixing.flops_of_a_step(Network((name,)))
    speed = float(np.median(speeds[1:])) / settings.training.batch_size
    return Pace(speed * per_step, peak.host, peak.device)
