"""Pretraining stages: a backbone trained on proxy tasks, or weights that a user brings."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from assl_jax.errors import InputError
from assl_jax.evaluation.export import export_backbone
from assl_jax.files import atomic_folder, write_json
from assl_jax.models.base import POOLED
from assl_jax.objectives.alternating import Alternating
from assl_jax.objectives.base import Member, Objective
from assl_jax.objectives.distilled import TEACHERS, Distilled, Teacher
from assl_jax.objectives.joint import Joint
from assl_jax.objectives.penalised import FIRST, Penalised
from assl_jax.records import BACKBONE_FOLDER, START, Network, Pretrained
from assl_jax.seeds import derived
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import Stage, StageSpec
from assl_jax.strategies.study import Study
from assl_jax.training.checkpoint import CHECKPOINTS, DAMAGED, Checkpoints, load_tree
from assl_jax.training.compute import pass_flops, step_flops
from assl_jax.training.loop import Logging, Session, Training, fit
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.processes import is_primary
from assl_jax.training.sharding import replicate
from assl_jax.training.state import TrainState, init_state

OBSERVATIONS = 10  # of a pretraining, spread over its steps
# Settings that change no stage's numbers, or that act through the network or its parents.
ELSEWHERE = {"seeds", "budget", "mixing", "teachers"}


def spec(study: Study, network: Network) -> StageSpec:
    """Train a backbone on the network's tasks; its weights lie in the stage's `backbone/`.

    The stage depends only on the unlabeled images. Labels and test images do not affect it; its log
    shows how good the features of some of them are.
    """
    compared = study.similarity
    settings: dict[str, Any] = {
        "images": study.inputs["unlabeled"],
        "reestimate_bn": compared.reestimate_bn and [compared.n, study.eval_batch_size],
    }
    if network.given:
        return study.stage(
            "given", network, {**settings, "init": study.given[network.given].digest}
        )
    settings |= _own(dataclasses.replace(study.pretrain, training=training_of(study, network)))
    tasks = [study.tasks[name] for name in ordered(network)]
    settings |= {
        "tasks": [{"name": task.name, **dataclasses.asdict(task)} for task in tasks],
        "objective": network.objective,
        "until": steps_of(study, network),
        "generation": network.generation,
        "repeat": network.seed,
        "start": [parent == network.start for parent in network.parents],
    }
    if network.objective == "distil":
        settings["distil"] = _own(study.distil)
    if network.objective == "self_assl":
        settings["penalty"] = _own(study.penalty)
    parents = [spec(study, parent) for parent in network.parents]
    objective = objective_of(study, network)
    roots = dict.fromkeys(map(type, (objective, *objective.members, *tasks)))
    return study.stage("pretrain", network, settings, parents, tuple(roots))


def _own(settings: Any) -> dict[str, Any]:
    """The plain values of a dataclass of settings that determine a stage."""
    own = dataclasses.asdict(settings)
    return {name: value for name, value in own.items() if name not in ELSEWHERE}


def objective_of(study: Study, network: Network, width: int = 1) -> Objective:
    """What a network is trained on.

    Args:
      study, network: the network, with tasks.
      width: number of features of a teacher; a price is that of 1.
    """
    members: list[Member] = [study.tasks[name] for name in ordered(network)]
    if network.objective == "distil":
        return Distilled(
            part=members[0],
            widths=(width,) * len(network.teachers),
            weight=study.distil.weight,
            own=float(study.distil.start == "single"),
        )
    if network.objective == "self_assl":
        members = [Penalised(part=member, penalty=study.penalty) for member in members]
    if len(members) == 1:
        return members[0]
    return (Joint if is_joint(network) else Alternating)(tuple(members))


def is_joint(network: Network) -> bool:
    """Whether a pool trains all of its tasks in every step, also when it is trained again."""
    first = network.teachers[0] if network.trained_again else network
    return first.objective == "joint"


def ordered(network: Network) -> tuple[str, ...]:
    """The tasks in the order in which they are trained."""
    return network.tasks if is_joint(network) else tuple(sorted(network.tasks))


def step_flops_of(study: Study, network: Network) -> float:
    """Floating-point operations of a step; of an alternating pool, the mean over its tasks."""
    return step_flops(study.backbone, objective_of(study, network), _batch(study))


def _batch(study: Study) -> jax.ShapeDtypeStruct:
    """The shape of the images of a step."""
    images, size = study.dataset.images, study.pretrain.training.batch_size
    return jax.ShapeDtypeStruct((size, *images.shape[1:]), images.dtype)


def _seed(study: Study, network: Network) -> int:
    """The same for all first trainings of a study, and another one for all later ones."""
    return derived(study.seed, "pretraining", network.generation, network.seed)


def training_of(study: Study, network: Network) -> Training:
    """How long a network is trained: see `PretrainSettings.budget`."""
    settings = study.pretrain
    steps = settings.training.steps
    if settings.budget == "per_task" and len(network.members) > 1:
        steps *= len(network.members)
    if settings.budget == "compute":
        compute = steps * pass_flops(study.backbone, _batch(study))
        steps = max(1, round(compute / step_flops_of(study, network)))
    return dataclasses.replace(settings.training, steps=steps)


def steps_of(study: Study, network: Network) -> int:
    """The step that a pretraining ends with: at a rung, an earlier one than the last."""
    return max(1, round(network.share * training_of(study, network).steps))


def flops_of(study: Study, network: Network) -> float:
    """Floating-point operations of a network's own training."""
    return steps_of(study, network) * step_flops_of(study, network)


def cost_of(study: Study, network: Network) -> float:
    """Floating-point operations of a network's training and of all that it builds on."""
    return sum(flops_of(study, n) for n in dict.fromkeys(network.history) if n.trained)


def compute(study: Study, stages: Stages, spec: StageSpec, folder: Path) -> Pretrained:
    """Train, or take what is given, and write the backbone."""
    network = spec.network
    if network.given:
        weights = replicate(dict(study.given[network.given].variables), study.images.mesh)
        _keep(study, folder, weights, network)
        return Pretrained(flops=0.0)
    _save_label_tables(study, folder, network)
    _go_on_from_a_rung(study, stages, spec, folder)
    start, frozen = _begin(study, stages, network)
    objective = objective_of(study, network, study.width)
    state = fresh(study, objective, jax.random.key(_seed(study, network)))
    if start is not None:
        state = state.going_on(objective, start)
    checkpoints = Checkpoints(folder / CHECKPOINTS, study.checkpoints)
    training = training_of(study, network)
    with study.recording(spec, folder) as record:
        logging = Logging(
            title=f"pretrain {study.words(network)}",
            every=study.log_every,
            record=record,
            observe=_observer(study, stages, network),
            observe_every=max(1, training.steps // OBSERVATIONS),
        )
        state = fit(
            state,
            objective,
            study.images.select(study.dataset.unlabeled),
            training,
            backbone=study.backbone,
            session=Session(
                seed=_seed(study, network),
                until=steps_of(study, network),
                checkpoints=checkpoints,
                logging=logging,
            ),
            frozen=frozen,
        )
    checkpoints.close(finished=True)
    _keep(study, folder, state.variables, network)
    return Pretrained(flops=flops_of(study, network))


def _begin(study: Study, stages: Stages, network: Network) -> tuple[TrainState | None, Any]:
    """The state that a training goes on from, if any, and its frozen networks."""
    start = network.start and network.start.trained
    state = _last_state(study, stages, network.start) if start and network.start else None
    if network.objective == "distil":
        teachers = tuple(_teacher(study, stages, each) for each in network.teachers)
        return state, {TEACHERS: teachers}
    if network.objective == "self_assl":
        # The frozen network keeps the running statistics of the proxy tasks' inputs, because f' is
        # trained on such inputs.
        first = state or _last_state(study, stages, network.teachers[0])
        return state, {FIRST: first.variables}
    return state, None


def _teacher(study: Study, stages: Stages, network: Network) -> Teacher:
    """A finished network, with the statistics of its pooled features of plain images."""
    variables = load(study, stages.get(spec(study, network)))
    plain = dataclasses.replace(study.plain_images, layer=POOLED)
    x = plain.features(variables, "unlabeled")
    return Teacher(variables, x.mean(0), x.std(0) + 1e-6)


def _last_state(study: Study, stages: Stages, network: Network) -> TrainState:
    """The state at the end of a finished pretraining."""
    stage = stages.get(spec(study, network))
    checkpoints = Checkpoints(stage.folder / CHECKPOINTS)
    try:
        like = fresh(study, objective_of(study, network, study.width), jax.random.key(0))
        return checkpoints.restore(like, study.images.mesh)
    except DAMAGED as error:
        raise InputError(
            f"the checkpoint of {stage.folder} does not fit this version; delete that folder, "
            "and the run computes it again"
        ) from error
    finally:
        checkpoints.close()


def _observer(
    study: Study, stages: Stages, network: Network
) -> Callable[[TrainState], dict[str, float]]:
    """What is measured during a training; in a second run, also the similarity to the first."""
    plain, dataset = study.plain_images, study.dataset
    if not network.trained_again:
        return plain.watch(dataset.labels, dataset.groups, dataset.num_classes)
    first = load(study, stages.get(spec(study, network.teachers[0])))
    return plain.observer(first, untrained(study), study.similarity.estimator)


def _go_on_from_a_rung(study: Study, stages: Stages, spec_: StageSpec, folder: Path) -> None:
    """Copy the log and the checkpoint of the last rung, as if the training had not stopped there.

    A rung is a prefix of the same schedule. Without a finished one, the training begins anew.
    """
    shares = [share for share in reversed(study.rungs) if share < spec_.network.share]
    earlier = (stages.find(spec(study, spec_.network.replace(share=s))) for s in shares)
    rung = next(filter(None, earlier), None)
    if rung is None or not is_primary() or (folder / CHECKPOINTS).exists():
        return
    with study.recording(spec_, folder) as record:
        for old in MetricsLog(rung.folder).read():
            record(task=old.task, step=old.step, values=old.values, steps=old.steps)
    with atomic_folder(folder / CHECKPOINTS) as copy:
        shutil.copytree(rung.folder / CHECKPOINTS, copy, dirs_exist_ok=True)


def _keep(study: Study, folder: Path, variables: dict[str, Any], network: Network) -> None:
    """Write a stage's backbone, with running statistics of plain images."""
    fitted = study.plain_images.fit(variables)
    if is_primary():
        export_backbone(
            folder / BACKBONE_FOLDER,
            fitted,
            settings=dict(study.backbone_settings),
            intensity=study.dataset.intensity,
            pool=network.members,
        )


def _save_label_tables(study: Study, folder: Path, network: Network) -> None:
    """Save the routes and permutations that the class labels refer to."""
    rank = len(study.dataset.space)
    tables = {name: study.tasks[name].label_table(rank) for name in network.tasks}
    known = {name: table.tolist() for name, table in tables.items() if table is not None}
    if is_primary():
        write_json(folder / "labels.json", known)


def fresh(
    study: Study, objective: Objective, key: jax.Array, *, random: bool = False
) -> TrainState:
    """A state before its first step, with the start weights unless they must be `random`."""
    start = None if random else study.given.get(START)
    return init_state(
        key,
        study.backbone,
        objective,
        study.pretrain.training.optimiser,
        study.images.arrays,
        replicate(dict(start.variables), study.images.mesh) if start else None,
    )


def untrained(study: Study) -> dict[str, Any]:
    """Random weights, with running statistics of plain images."""
    task = next(iter(study.tasks.values()))
    key = jax.random.key(derived(study.seed, "untrained"))
    variables = fresh(study, task, key, random=True).variables
    return study.plain_images.fit(replicate(variables, study.images.mesh))


def load(study: Study, stage: Stage) -> dict[str, Any]:
    """The variables of a pretraining stage's backbone, replicated on the devices."""
    return replicate(load_tree(stage.folder / BACKBONE_FOLDER / "variables"), study.images.mesh)
