"""Fine-tuning stages: one network fine-tuned many times, and what it predicts.

A stage keeps probabilities. Metrics are read from them, see `strategies.evidence`.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assl_jax.console import Progress
from assl_jax.evaluation import stored
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.export import export_model
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.files import read_array, write_array
from assl_jax.models import SideBySide
from assl_jax.records import MODEL_FOLDER, Network, Predicted
from assl_jax.seeds import derived
from assl_jax.strategies import pretraining
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import Stage, StageSpec
from assl_jax.strategies.study import Study
from assl_jax.training.checkpoint import CHECKPOINTS, Checkpoints
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
    """One fine-tuning: rows to train on, rows to predict, and the random seed."""

    train: np.ndarray
    test: np.ndarray
    seed: int


Runs = Mapping[str, Run]


def on_all_labels(study: Study) -> dict[str, Run]:
    """Fine-tunings on every labelled set, `target.seeds` times each, by name."""
    return {
        f"test {i} {s}": Run(rows, study.dataset.test, derived(study.seed, "fine-tuning", s))
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
    return study.stage(kind, network, own, parents, [Classification])


def parts_of(network: Network) -> tuple[Network, ...]:
    """The networks whose weights are fine-tuned as one; none from scratch."""
    if network.objective == "side_by_side":
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
    copies = max(1, len(variables))
    backbone = study.backbone if copies == 1 else SideBySide(study.backbone, copies)
    begin = SideBySide.gather(*variables) if copies > 1 else next(iter(variables), None)
    dataset, settings = study.dataset, study.target.at(spec.settings["learning_rate"])
    target = Target(
        backbone,
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
        _finetune_all(study, target, begin, runs, folder, logging, keep)
    if spec.kind == "finetune" and is_primary():  # so that metrics can be read without the data
        test = dataset.test
        stored.write_truth(folder, dataset.labels[test], dataset.groups[test])
    return Predicted(runs=tuple(runs))


def _finetune_all(
    study: Study,
    target: Target,
    variables: dict[str, Any] | None,
    runs: Runs,
    stage: Path,
    logging: Logging,
    keep: Any,
) -> None:
    folder, unfinished = stage / stored.FOLDER, stage / CHECKPOINTS
    if is_primary():
        folder.mkdir(exist_ok=True)
    finished = broadcast([name for name in runs if (folder / stored.file_of(name)).exists()])
    heads: dict[bytes, Any] = {}  # by the rows of training
    with Progress(logging.title, len(runs)) as progress:
        for i, (name, run) in enumerate(runs.items()):
            path = folder / stored.file_of(name)
            if name in finished:
                found = read_array(path)
            else:
                check_stop(logging.title)
                rows = run.train.tobytes()
                if rows not in heads:
                    heads[rows] = target.first_head(variables, run.train)
                checkpoints = Checkpoints(unfinished / path.stem, study.checkpoints, last=False)
                session = Session(
                    seed=run.seed,
                    checkpoints=checkpoints,
                    logging=dataclasses.replace(logging, title="", run=name),
                )
                state = target.finetune(variables, run.train, session, heads[rows])
                keep(i, state)
                found = target.probabilities(state, run.test)
                if is_primary():
                    write_array(path, found)
                checkpoints.close()
            hits = found.argmax(1) == target.labels[run.test]
            progress.update(i + 1, f"accuracy {100 * hits.mean():.1f} %")
    if is_primary():
        shutil.rmtree(unfinished, ignore_errors=True)
