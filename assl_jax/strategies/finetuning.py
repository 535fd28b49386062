"""Fine-tuning stages: one network fine-tuned many times, and what it predicts.

A stage keeps probabilities. Metrics are read from them, see `strategies.evidence`.
"""

import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from assl_jax.console import Progress
from assl_jax.evaluation import stored
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.export import export_model
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.evaluation.student import Taught, teach
from assl_jax.files import read_array, write_array
from assl_jax.models import SideBySide
from assl_jax.records import MODEL_FOLDER, Network, Predicted
from assl_jax.seeds import derived
from assl_jax.strategies import pretraining
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import Stage, StageSpec
from assl_jax.strategies.study import Study
from assl_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from assl_jax.training.compute import PASSES, step_flops
from assl_jax.training.interrupt import check_stop
from assl_jax.training.loop import Logging, Session
from assl_jax.training.processes import broadcast, is_primary
from assl_jax.training.state import TrainState

FOR_RATES = 1000  # the division that chooses learning rates; those of a search are far below
TITLES = {
    "finetune": "fine-tune {network}",
    "rate": "cross-validate {network} with the learning rate {rate:g}",
    "select": "cross-validate {network}",
}
# Settings of the target that change no stage's numbers, and those that a stage does not read.
ELSEWHERE = {"keep", "learning_rates", "seeds", "folds"}


class Run(NamedTuple):
    """One fine-tuning: rows to train on, rows to predict, the random seed, and the repetition."""

    train: np.ndarray
    test: np.ndarray
    seed: int
    repeat: int = 0


Runs = Mapping[str, Run]
Train = Callable[[Run, Session], TrainState]


def on_all_labels(study: Study) -> dict[str, Run]:
    """Fine-tunings on every labelled set, `target.seeds` times each, by name."""
    return {
        f"test {i} {s}": Run(rows, study.dataset.test, derived(study.seed, "fine-tuning", s), s)
        for i, rows in enumerate(study.dataset.labelled_sets)
        for s in range(study.target.seeds)
    }


def on_folds(study: Study, division: int = 0) -> dict[str, Run]:
    """Fine-tunings of the cross-validation inside every labelled set, by name.

    Each division divides the labelled set into other folds and fine-tunes with other seeds.
    """
    dataset, folds, runs = study.dataset, study.target.folds, {}
    for i, rows in enumerate(dataset.labelled_sets if folds else ()):
        parts = stratified_folds(
            dataset.labels[rows],
            folds,
            seed=derived(study.seed, "folds", division),
            groups=dataset.groups[rows],
            names=dataset.class_names,
        )
        for f, fold in enumerate(parts):
            own = derived(study.seed, "fine-tuning", "fold", division, f)
            runs[f"cv {i} {f}"] = Run(np.delete(rows, fold), rows[fold], own)
    return runs


def finetune(study: Study, network: Network, rate: float) -> StageSpec:
    """Fine-tune on all labels, for every labelled set and seed, and predict the test images."""
    own = {"data": study.inputs["labelled and test"], "seeds": study.target.seeds}
    return _spec(study, "finetune", network, rate, own)


def cross_validate(
    study: Study, network: Network, rate: float, division: int = 0, kind: str = "select"
) -> StageSpec:
    """Fine-tune inside each labelled set, fold by fold. The test set is not used.

    Args:
      study, network, rate: what is fine-tuned, with which learning rate.
      division: number of the division into folds. The first one chooses the network that a search
        starts with; a later one compares it with others.
      kind: "select", or "rate" to choose the learning rate.
    """
    own = {
        "data": study.inputs["labelled"],
        "folds": study.target.folds,
        "division": division,
    }
    return _spec(study, kind, network, rate, own)


def _spec(study: Study, kind: str, network: Network, rate: float, own: dict[str, Any]) -> StageSpec:
    settings = dataclasses.asdict(study.target.at(rate))
    shared = {name: value for name, value in settings.items() if name not in ELSEWHERE}
    parents = [pretraining.spec(study, each) for each in parts_of(network)]
    own = {"learning_rate": rate, **shared, **own}
    if network.objective == "student":
        own |= {
            "student": study.student_steps,
            "training": dataclasses.asdict(study.pretrain.training),
            "teachers": _repeats(study, len(network.teachers)),
            "unlabeled": study.inputs["unlabeled"],
        }
    roots = [Classification, Taught] if network.objective == "student" else [Classification]
    return study.stage(kind, network, own, parents, roots)


def parts_of(network: Network) -> tuple[Network, ...]:
    """The networks whose weights are fine-tuned, as one or as teachers; none from scratch."""
    if network.objective in ("side_by_side", "student"):
        return network.teachers
    return (network,) if network.has_weights else ()


def runs_of(study: Study, spec: StageSpec) -> dict[str, Run]:
    """The fine-tunings of a stage by name."""
    if spec.kind == "finetune":
        return on_all_labels(study)
    return on_folds(study, spec.settings["division"])


def predictions(stage: Stage) -> list[np.ndarray]:
    """The probabilities `[n, k]` of each run of a finished stage."""
    assert isinstance(stage.record.result, Predicted)
    return stored.predictions(stage.folder, stage.record.result.runs)


def compute(study: Study, stages: Stages, spec: StageSpec, folder: Path) -> Predicted:
    """Fine-tune for every run and predict; the first networks on all labels are kept.

    Finished runs of an interrupted stage are read, and the one after them goes on from its
    checkpoint.
    """
    variables = [pretraining.load(study, stages.get(parent)) for parent in spec.parents]
    teaches = spec.network.objective == "student"
    copies = 1 if teaches else max(1, len(variables))
    dataset, settings = study.dataset, study.target.at(spec.settings["learning_rate"])
    target = Target(
        study.backbone if copies == 1 else SideBySide(study.backbone, copies),
        Classification(
            classes=dataset.num_classes,
            augmentation=settings.augmentation,
            intensity=dataset.intensity,
        ),
        study.images,
        dataset.labels,
        settings.training,
        study.eval_batch_size,
        settings.head,
        settings.balance,
        dataset.groups,
    )
    if teaches:
        train: Train = Teaching(study, target, variables)
    else:
        begin = SideBySide.gather(*variables) if copies > 1 else next(iter(variables), None)
        train = Finetuning(target, begin)

    def keep(number: int, state: TrainState) -> None:
        if spec.kind == "finetune" and is_primary() and number < settings.keep:
            export_model(
                folder / MODEL_FOLDER,
                {"params": state.params, "batch_stats": state.batch_stats},
                settings={**study.backbone_settings, "copies": copies},
                dataset=dataset,
                number=number,
            )

    words = {"network": study.words(spec.network), "rate": spec.settings["learning_rate"]}
    title, runs = TITLES[spec.kind].format(**words), runs_of(study, spec)
    with study.recording(spec, folder) as record:
        logging = Logging(title=title, every=study.log_every, record=record)
        _train_all(study, target, train, runs, folder, logging, keep)
    if spec.kind == "finetune" and is_primary():  # so that metrics can be read without the data
        test = dataset.test
        stored.write_truth(folder, dataset.labels[test], dataset.groups[test])
    return Predicted(runs=tuple(runs))


def step_flops_of(study: Study) -> float:
    """Floating-point operations of a step of fine-tuning."""
    return _flops(study, study.target.training.batch_size)


def student_flops(study: Study) -> float:
    """Floating-point operations of the training of one student."""
    return study.student_steps * _flops(study, study.pretrain.training.batch_size)


def _flops(study: Study, size: int) -> float:
    dataset = study.dataset
    task = Classification(classes=max(1, dataset.num_classes), intensity=dataset.intensity)
    images = jax.ShapeDtypeStruct((size, *dataset.images.shape[1:]), dataset.images.dtype)
    return step_flops(study.backbone, task, images, jax.ShapeDtypeStruct((size,), np.int32))


def price(study: Study, spec: StageSpec) -> tuple[int, float]:
    """Steps and floating-point operations of a stage, its predictions included."""
    runs, target = runs_of(study, spec).values(), study.target
    each, size = step_flops_of(study), target.training.batch_size
    forward = each / PASSES / size  # of one image
    steps = len(runs) * target.training.steps
    flops = steps * each + forward * sum(len(run.test) for run in runs)
    if spec.network.objective != "student":
        return steps, flops
    sets = len({run.train.tobytes() for run in runs})
    teachers = len(spec.network.teachers)
    lessons = sets * teachers * _repeats(study, teachers)
    taught = lessons * (target.training.steps * each + forward * _seen_by_students(study)) + len(
        runs
    ) * student_flops(study)
    steps = lessons * target.training.steps + len(runs) * study.student_steps
    return steps, taught + forward * sum(len(run.test) for run in runs)


def _repeats(study: Study, teachers: int) -> int:
    """How often each teacher is fine-tuned: together as often as a network that is tested."""
    return math.ceil(study.target.seeds / teachers)


def _seen_by_students(study: Study) -> int:
    """How many unlabeled images students learn from: not more than they have time for."""
    most = study.student_steps * study.pretrain.training.batch_size
    return min(len(study.dataset.unlabeled), most)


class Finetuning:
    """The fine-tuning of one network; a first head is fitted once for the same images."""

    def __init__(self, target: Target, variables: dict[str, Any] | None) -> None:
        self.target, self.variables = target, variables
        self.heads: dict[bytes, Any] = {}  # by the rows of training

    def __call__(self, run: Run, session: Session) -> TrainState:
        rows = run.train.tobytes()
        if rows not in self.heads:
            self.heads[rows] = self.target.first_head(self.variables, run.train)
        return self.target.finetune(self.variables, run.train, session, self.heads[rows])


class Teaching:
    """The training of a student; the teachers of the same labelled images are trained once.

    A student learns the labels of the labelled images, and of the unlabeled ones what its teachers
    say. It sees no image that it is judged by, so that its cross-validation leaks nothing.
    """

    def __init__(self, study: Study, target: Target, networks: Sequence[dict[str, Any]]) -> None:
        self.study, self.target = study, target
        self.teachers = [Finetuning(target, variables) for variables in networks]
        settings = study.pretrain.training
        self.training = dataclasses.replace(settings, steps=study.student_steps)
        self.repeats = _repeats(study, len(networks))
        rng = np.random.default_rng(derived(study.seed, "students' images"))
        self.unlabeled = rng.permutation(study.dataset.unlabeled)[: _seen_by_students(study)]
        self.known: dict[bytes, tuple[list[TrainState], np.ndarray]] = {}

    def __call__(self, run: Run, session: Session) -> TrainState:
        rows = np.union1d(np.setdiff1d(self.unlabeled, run.test), run.train)
        if (key := run.train.tobytes()) not in self.known:
            self.known = {key: self._lessons(run, rows)}
        states, taught = self.known[key]
        first = states[run.repeat % len(states)]
        return teach(self.target, self.training, first, rows, taught, session)

    def _lessons(self, run: Run, rows: np.ndarray) -> tuple[list[TrainState], np.ndarray]:
        """The fine-tunings of the first teacher, and the mean probabilities of all teachers."""
        study, classes = self.study, self.study.dataset.num_classes
        taught = np.zeros((len(study.dataset.images), classes), np.float32)
        firsts: list[TrainState] = []
        for number, finetuning in enumerate(self.teachers):
            for repeat in range(self.repeats):
                seed = derived(study.seed, "teacher", number, repeat)
                state = finetuning(run, Session(seed=seed))
                taught[rows] += self.target.probabilities(state, rows)
                firsts += [state] if finetuning is self.teachers[0] else []
        taught /= len(self.teachers) * self.repeats
        taught[run.train] = np.eye(classes, dtype=np.float32)[self.target.labels[run.train]]
        return firsts, taught


def _train_all(
    study: Study,
    target: Target,
    train: Train,
    runs: Runs,
    stage: Path,
    logging: Logging,
    keep: Any,
) -> None:
    folder, unfinished = stage / stored.FOLDER, stage / CHECKPOINTS
    if is_primary():
        folder.mkdir(exist_ok=True)
    finished = broadcast([name for name in runs if (folder / stored.file_of(name)).exists()])
    with Progress(logging.title, len(runs)) as progress:
        for i, (name, run) in enumerate(runs.items()):
            path = folder / stored.file_of(name)
            if name in finished:
                found = read_array(path)
            else:
                check_stop(logging.title)
                checkpoints = Checkpoints(unfinished / path.stem, study.checkpoints, last=False)
                session = Session(
                    seed=run.seed,
                    checkpoints=checkpoints,
                    logging=dataclasses.replace(logging, title="", run=name),
                )
                state = train(run, session)
                keep(i, state)
                found = target.probabilities(state, run.test)
                if is_primary():
                    write_array(path, found)
                checkpoints.close()
            hits = found.argmax(1) == target.labels[run.test]
            progress.update(i + 1, f"accuracy {100 * hits.mean():.1f} %")
    if is_primary():
        shutil.rmtree(unfinished, ignore_errors=True)
