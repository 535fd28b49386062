"""Converts a `ConfigDict` into the library's plain arguments; see also `experiment.py`."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from assl_jax import records
from assl_jax.config_keys import (
    GROUPS,
    base_config,
    complete,
    defaults,
    task_names,
)
from assl_jax.data import Dataset, load, source
from assl_jax.errors import InputError, require
from assl_jax.interop.start import TEACHERS, read_start, teacher_paths
from assl_jax.models import make_backbone, suggest_delay, takes
from assl_jax.objectives.distilled import Distilled
from assl_jax.objectives.penalty import Penalty
from assl_jax.ranges import declared, mistakes
from assl_jax.strategies.network import SCRATCH, START
from assl_jax.strategies.settings import (
    AS_PRINTED,
    AS_PRINTED_MIXING,
    DistilSettings,
    PretrainSettings,
    SearchSettings,
    SecondRun,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.strategies.setup import Given, Setup
from assl_jax.strategies.stages import StageCache
from assl_jax.strategies.study import Study
from assl_jax.tasks import TASKS, ProxyTask, make_task, task_class
from assl_jax.training.checkpoint import tree_digest
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.trackers import trackers_of

TAUGHT = ("mtassl", "pretrain")  # experiments whose pools may have teachers


def saved_config(workdir: Path) -> ConfigDict:
    """The config of a run that was started in `workdir`.

    Raises:
      InputError: no run there, or a config that this version does not understand.
    """
    saved = records.read_settings(workdir / records.CONFIG)
    try:
        config = base_config(saved["data"]["name"])
        config.tasks = saved.get("tasks", config.tasks)
        complete(config)
        known = records.flat_settings(config.to_dict())
        if unknown := [key for key in records.flat_settings(saved) if key not in known]:
            raise KeyError(unknown[0])
        with config.ignore_type():
            config.update(saved)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{workdir / records.CONFIG} is not a config of this version ({error}); run it again"
        ) from error
    return config


def load_data(config: ConfigDict) -> Dataset:
    """The data set of a config."""
    settings = config.data.to_dict()
    return load(settings.pop("name"), **settings)


def pool_of(config: ConfigDict) -> tuple[str, ...]:
    """The names of the tasks in `config.tasks`.

    Raises:
      InputError: no task, an unknown task, a repeated task, a single task for `pairs`, or a
        distilled pool for `self_assl`.
    """
    names = tuple(task_class(name).name for name in task_names(config))
    require(bool(names), "tasks is empty; name at least one, as in tasks=src,rotation")
    require(len(set(names)) == len(names), f"tasks={config.tasks!r} names a task twice")
    require(
        config.experiment != "pairs" or len(names) > 1,
        f"experiment=pairs needs at least two tasks, not tasks={config.tasks}",
    )
    require(
        not (config.experiment == "self_assl" and config.pretrain.mixing == "distil" and names[1:]),
        "experiment=self_assl cannot train a pool twice with pretrain.mixing=distil; use alternate",
    )
    return names


def teachers_of(config: ConfigDict) -> dict[str, Path]:
    """The paths of `distil.teachers` by name.

    Raises:
      InputError: see `teacher_paths`; or an experiment or a mixing that has no use for teachers.
    """
    taken = {*TASKS, Distilled.name, SCRATCH.label, START.label}
    paths = teacher_paths(config.distil.teachers, taken)
    require(
        not paths or config.experiment in TAUGHT,
        f"experiment={config.experiment} has no use for {TEACHERS}; leave it empty, or use "
        f"{' or '.join(TAUGHT)}",
    )
    mixing = _mixing(config)
    require(
        not paths or mixing == "distil",
        f"{TEACHERS} needs pretrain.mixing=distil (and not search.as_printed), not {mixing}",
    )
    return paths


def members_of(config: ConfigDict) -> tuple[str, ...]:
    """The names of the tasks and of the teachers, of which pools are formed."""
    return (*pool_of(config), *teachers_of(config))


def search_of(config: ConfigDict) -> SearchSettings:
    """The settings of the search."""
    settings = config.search.to_dict()
    if settings.pop("as_printed"):
        settings |= AS_PRINTED
    return SearchSettings(**settings)


def second_run_of(config: ConfigDict) -> SecondRun:
    """The settings of Self-ASSL."""
    settings = config.self_assl.to_dict()
    penalty = Penalty(**_fields(Penalty, settings))
    return SecondRun(penalty=penalty, **_fields(SecondRun, settings))


def cross_validated(config: ConfigDict) -> bool:
    """Whether networks are also cross-validated inside the labelled sets, to select by it."""
    return config.experiment == "mtassl" and config.search.select_on == "cv"


def studies_of(
    config: ConfigDict, dataset: Dataset, stages: StageCache, *, cross_validated: bool
) -> list[Study]:
    """One study for each backbone; images and stages are shared.

    Args:
      cross_validated: whether networks are also cross-validated inside the labelled sets.
    """
    tasks = _tasks(config, intensity=dataset.intensity)
    target = _target(config, cross_validated)
    images = Feed(dataset.images, make_mesh(), config.images_on)
    backbones = _backbones(config, dataset.space)
    teachers = teachers_of(config)
    return [
        Study(
            Setup(
                dataset=dataset,
                images=images,
                backbone=make_backbone(**settings),
                start=_given(config.init.path, settings, dataset) if config.init.path else None,
                teachers={
                    name: _given(path, settings, dataset, f"{TEACHERS}={name}")
                    for name, path in teachers.items()
                },
                backbone_settings=settings,
                tasks=tasks,
                similarity=SimilaritySettings(**config.similarity.to_dict()),
                seed=config.seed,
                stages=stages,
                prefix=settings["name"] if len(backbones) > 1 else "",
                eval_batch_size=config.eval_batch_size,
                checkpoint_every=config.checkpoint_every,
                log_every=config.log_every,
                log_to=trackers_of(config.log_to),
            ),
            _pretraining(config),
            target,
            search_of(config).metric,
            cross_validated,
            search_of(config).rungs if config.experiment == "mtassl" else (),
        )
        for settings in backbones
    ]


def mistakes_of(config: ConfigDict) -> list[str]:
    """What is wrong with a config, one line each, as far as it shows without the data."""
    data = config.data.to_dict()
    flat = records.flat_settings(config.to_dict())
    odd = [key for key, value in flat.items() if _odd(value)]
    found = [f"{key}={flat[key]} is not a finite number" for key in odd]
    # The groups whose settings have been named already.
    wrong = {key.partition(".")[0] if "." in key else "" for key in odd}
    for group, kinds in GROUPS.items():
        prefix = f"{group}." if group else ""
        given = config[group].to_dict() if group else config.to_dict()
        fine = {key: value for key, value in given.items() if prefix + key not in odd}
        out_of_range = [line for kind in kinds for line in mistakes(declared(kind), fine, prefix)]
        found += out_of_range
        wrong |= {group} if out_of_range else set()
    # What depends on several settings, and the groups that it reads.
    checks: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("", lambda: trackers_of(config.log_to)),
        ("data", lambda: source(**data)),
        ("task", lambda: _tasks(config)),
        (
            "backbone self_assl",
            lambda: [make_backbone(**settings) for settings in _backbones(config, ())],
        ),
        ("pretrain distil", lambda: _pretraining(config)),
        ("pretrain", lambda: teachers_of(config)),
        ("target", lambda: _target(config, cross_validated(config))),
        ("", lambda: _start(config)),
        ("self_assl", lambda: second_run_of(config)),
    )
    for groups, each in checks:
        if wrong.isdisjoint(groups.split(" ")):
            try:
                each()
            except InputError as error:
                found.append(str(error))
    return found


def _odd(value: Any) -> bool:
    """Whether a value is, or holds, a number that is not finite."""
    if isinstance(value, tuple):
        return any(map(_odd, value))
    return isinstance(value, float) and not math.isfinite(value)


def _start(config: ConfigDict) -> None:
    """Raise `InputError` if weights to start from are needed and not given."""
    require(
        config.experiment != "finetune" or bool(config.init.path),
        "experiment=finetune needs weights to start from; set init.path",
    )


def _tasks(config: ConfigDict, **given: Any) -> dict[str, ProxyTask]:
    """The proxy tasks by name."""
    return {
        name: make_task(name, **config.task[name].to_dict(), **given) for name in pool_of(config)
    }


def _target(config: ConfigDict, cross_validated: bool) -> TargetSettings:
    settings = TargetSettings(
        training=_training(config, "target"), **_fields(TargetSettings, config.target.to_dict())
    )
    if not (cross_validated or settings.chooses_rate):
        return dataclasses.replace(settings, folds=0)
    require(
        settings.folds >= 2,
        f"target.folds={settings.folds}: cross-validation needs at least 2; or set "
        "search.select_on=test and no target.learning_rates",
    )
    return settings


def _backbones(config: ConfigDict, space: tuple[int, ...]) -> list[dict[str, Any]]:
    """The settings of each backbone."""
    settings = config.backbone.to_dict()
    names = tuple(config.self_assl.backbones) or (settings["name"],)
    require(len(set(names)) == len(names), f"self_assl.backbones={names} names one twice")
    suggested = suggest_delay(space) if space else ()
    each = []
    for name in names:
        delay = settings["delay"] or (suggested if takes(name, "delay") else ())
        # A list, as JSON gives it back to `load_backbone`.
        each.append({**settings, "name": name, "delay": list(delay)})
    return each


def _given(
    path: str | Path, backbone: dict[str, Any], dataset: Dataset, setting: str = "init.path"
) -> Given:
    """Weights of a file or a run, for a backbone of these settings and the images of `dataset`."""
    variables = read_start(
        path,
        make_backbone(**backbone),
        rank=len(dataset.space),
        channels=dataset.channels,
        setting=setting,
    )
    return Given(variables=variables, digest=tree_digest(variables).hex())


def _pretraining(config: ConfigDict) -> PretrainSettings:
    settings = _fields(PretrainSettings, config.pretrain.to_dict())
    settings["mixing"] = _mixing(config)
    return PretrainSettings(
        training=_training(config, "pretrain"),
        distil=DistilSettings(**_fields(DistilSettings, config.distil.to_dict())),
        **settings,
    )


def _mixing(config: ConfigDict) -> str:
    """How pools are trained."""
    printed = config.search.as_printed and config.experiment == "mtassl"
    return AS_PRINTED_MIXING if printed else config.pretrain.mixing


def _training(config: ConfigDict, group: str) -> Training:
    """The settings of a training; the message of a mistake begins with the full key."""
    settings = config[group].to_dict()
    try:
        optimiser = Optimiser(**_fields(Optimiser, settings))
        return Training(optimiser=optimiser, **_fields(Training, settings))
    except InputError as error:
        raise InputError(f"{group}.{error}") from error


def _fields(kind: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The entries of `settings` that are settings of `kind`."""
    return {name: settings[name] for name in defaults(kind)}
