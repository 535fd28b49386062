"""Converts a `ConfigDict` into the library's plain arguments; see also `experiment.py`."""

import dataclasses
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from assl_jax import records
from assl_jax.data import Dataset, load, source_settings
from assl_jax.errors import InputError, lookup, require
from assl_jax.interop.start import content_digest, read_start
from assl_jax.models import make_backbone, suggest_delay
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
from assl_jax.strategies.setup import Setup, Start
from assl_jax.strategies.stages import StageCache
from assl_jax.strategies.study import Study
from assl_jax.tasks import TASKS, make_task
from assl_jax.training.feed import Feed
from assl_jax.training.joint import JointSettings
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.penalty import Penalty
from assl_jax.training.sharding import make_mesh
from assl_jax.training.trackers import trackers_of


def base_config(data: str) -> ConfigDict:
    """Every setting with its default, for the data source named `data`.

    The keys of a group are the fields of the class, or the arguments of the function, that the
    group is passed to: `data` of the source's function, `task.*` of the proxy tasks, and so on.
    """
    optimiser = _defaults(Optimiser)
    training = {"steps": 1000, "batch_size": 128, "accumulate": 1, **optimiser}
    return ConfigDict(
        {
            "experiment": "mtassl",
            "seed": 0,
            "tasks": "src,mcpc,jigsaw,rotation,inpaint,simclr",
            "data": {"name": data, **source_settings(data)},
            "backbone": {
                "name": "resnet18",
                "width": 1.0,
                "stem": "imagenet",
                "dtype": "float32",
                "delay": (),  # what suits the images' shape, see `suggest_delay`
                "remat": False,
            },
            "init": {"path": ""},  # weights to start from, see `interop.start`; "" draws them
            "pretrain": {**training, **_defaults(PretrainSettings)},
            "joint": _defaults(JointSettings),
            "distil": _defaults(DistilSettings),
            "target": {**training, "learning_rate": 1e-4, **_defaults(TargetSettings)},
            "similarity": _defaults(SimilaritySettings),
            "self_assl": {
                **_defaults(Penalty),
                **_defaults(SecondRun),
                "second_run": False,  # also a plain second run, as a control
                "backbones": (),  # names; none means `backbone.name` alone
            },
            "search": {**_defaults(SearchSettings), "as_printed": False},  # see `AS_PRINTED`
            "task": {name: _defaults(kind) for name, kind in TASKS.items()},
            "images_on": "auto",
            "keep_compiled": True,
            "eval_batch_size": 256,
            "checkpoint_every": 1000,
            "log_every": 50,
            "log_to": "tensorboard",
        }
    )


def saved_config(workdir: Path) -> ConfigDict:
    """The config of a run that was started in `workdir`.

    Raises:
      InputError: no run there, or a config that this version does not understand.
    """
    saved = records.read_settings(workdir / records.CONFIG)
    try:
        config = base_config(saved["data"]["name"]).lock()  # so that an unknown key raises
        with config.ignore_type():
            config.update(saved)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{workdir / records.CONFIG} is not a config of this version ({error}); run it again"
        ) from error
    return config.unlock()


def load_data(config: ConfigDict) -> Dataset:
    """The data set of a config."""
    settings = config.data.to_dict()
    return load(settings.pop("name"), **settings)


def pool_of(config: ConfigDict) -> tuple[str, ...]:
    """The names in `config.tasks`.

    Raises:
      InputError: no task, an unknown task, a repeated task, a single task for `pairs`, or a
        distilled pool for `self_assl`.
    """
    names = tuple(name.strip() for name in config.tasks.split(",") if name.strip())
    require(bool(names), "tasks is empty; name at least one, as in tasks=src,rotation")
    require(len(set(names)) == len(names), f"tasks={config.tasks!r} names a task twice")
    for name in names:
        lookup(TASKS, name, "task")
    require(
        config.experiment != "pairs" or len(names) > 1,
        f"experiment=pairs needs at least two tasks, not tasks={config.tasks}",
    )
    require(
        not (config.experiment == "self_assl" and config.pretrain.mixing == "distil" and names[1:]),
        "experiment=self_assl cannot train a pool twice with pretrain.mixing=distil; use alternate",
    )
    return names


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


def studies_of(
    config: ConfigDict, dataset: Dataset, stages: StageCache, *, cross_validated: bool
) -> list[Study]:
    """One study for each backbone; images and stages are shared.

    Args:
      cross_validated: whether networks are also cross-validated inside the labelled sets.
    """
    tasks = {
        name: make_task(name, **config.task[name].to_dict(), intensity=dataset.intensity)
        for name in pool_of(config)
    }
    require(
        not cross_validated or config.target.folds >= 2,
        f"target.folds={config.target.folds}: cross-validation needs at least 2; or set "
        "search.select_on=test",
    )
    target = _fields(TargetSettings, config.target.to_dict())
    target["folds"] = target["folds"] if cross_validated else 0
    images = Feed(dataset.images, make_mesh(), config.images_on)
    backbones = _backbones(config, dataset)
    return [
        Study(
            Setup(
                dataset=dataset,
                images=images,
                backbone=make_backbone(**settings),
                start=_start(config, settings, dataset),
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
            TargetSettings(training=_training(config.target), **target),
            search_of(config).metric,
        )
        for settings in backbones
    ]


def _backbones(config: ConfigDict, dataset: Dataset) -> list[dict[str, Any]]:
    """The settings of each backbone."""
    settings = config.backbone.to_dict()
    # A list, as JSON gives it back to `load_backbone`.
    settings["delay"] = list(settings["delay"] or suggest_delay(dataset.space))
    names = tuple(config.self_assl.backbones) or (settings["name"],)
    require(len(set(names)) == len(names), f"self_assl.backbones={names} names one twice")
    return [{**settings, "name": name} for name in names]


def _start(config: ConfigDict, settings: dict[str, Any], dataset: Dataset) -> Start | None:
    """The start weights of a backbone; None if they are drawn."""
    if not config.init.path:
        return None
    variables = read_start(
        config.init.path,
        make_backbone(**settings),
        rank=len(dataset.space),
        channels=dataset.channels,
    )
    return Start(variables=variables, digest=content_digest(variables))


def _pretraining(config: ConfigDict) -> PretrainSettings:
    settings = _fields(PretrainSettings, config.pretrain.to_dict())
    if config.search.as_printed and config.experiment == "mtassl":
        settings["mixing"] = AS_PRINTED_MIXING
    return PretrainSettings(
        training=_training(config.pretrain),
        joint=JointSettings(**config.joint.to_dict()),
        distil=DistilSettings(**config.distil.to_dict()),
        **settings,
    )


def _training(group: ConfigDict) -> Training:
    settings = group.to_dict()
    optimiser = Optimiser(**_fields(Optimiser, settings))
    return Training(optimiser=optimiser, **_fields(Training, settings))


def _defaults(kind: type) -> dict[str, Any]:
    """The settings of a dataclass with their defaults. Fields in `parts` are not settings."""
    parts = ("intensity", "training", "optimiser", "penalty", "joint", "distil")
    return {f.name: f.default for f in dataclasses.fields(kind) if f.name not in parts}


def _fields(kind: type, settings: dict[str, Any]) -> dict[str, Any]:
    """The entries of `settings` that are settings of `kind`."""
    return {name: settings[name] for name in _defaults(kind)}
