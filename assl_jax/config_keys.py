"""Every key of a config: its default, and what it means."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from ml_collections import ConfigDict

from assl_jax.data import SOURCES, load, source_of, source_settings
from assl_jax.docstrings import meanings
from assl_jax.errors import lookup, require
from assl_jax.models import BACKBONES, make_backbone
from assl_jax.models.resnet import STEMS
from assl_jax.objectives.penalty import Penalty
from assl_jax.ranges import Count, OneOf, Seed, check, declared
from assl_jax.strategies.settings import (
    DistilSettings,
    PretrainSettings,
    SearchSettings,
    SecondRun,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.tasks import TASKS, task_class
from assl_jax.training.feed import PLACEMENTS
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.trackers import TRACKERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of a run that belong to no group.

    Attributes:
      experiment: what is run, one of `EXPERIMENTS` in `experiment.py`.
      seed: of all random numbers.
      tasks: the proxy tasks, separated by commas; a task of your own as `module:Class`.
      images_on: where the images are kept during training, see `Feed`: "device", "host", or "auto".
      keep_compiled: keep compiled programs in the folder `compiled` next to the stages.
      eval_batch_size: images in a batch when a network is evaluated.
      checkpoint_every: steps between two checkpoints of a training.
      log_every: steps between two lines of its log.
      log_to: where the curves of a training are shown, separated by commas; see `TRACKERS` in
        `training/trackers.py`.

    Raises:
      InputError: a number out of range.
    """

    experiment: str = "mtassl"
    seed: Seed = 0
    tasks: str = "src,mcpc,jigsaw,rotation,inpaint,simclr"
    images_on: Annotated[str, OneOf(PLACEMENTS)] = "auto"
    keep_compiled: bool = True
    eval_batch_size: Count = 256
    checkpoint_every: Count = 1000
    log_every: Count = 50
    log_to: str = "tensorboard"

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitSettings:
    """The weights that every pretraining starts from.

    Attributes:
      path: a finished run, or a safetensors file with a network in the names of torchvision, timm
        or MONAI, see `interop.start`; "" draws random weights.
    """

    path: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Networks that a user brings, for pools to learn from.

    Attributes:
      teachers: `NAME=PATH`, separated by commas: networks of the same backbone. A search or a
        distilled pool takes them in as it does tasks. The path is one that `init.path` takes;
        without `NAME=`, the file or folder gives the name.
    """

    teachers: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSettings:
    """What a comparison with Self-ASSL trains.

    Attributes:
      second_run: also train a second run without the penalty, as a control.
      backbones: names of the backbones that are compared; () means `backbone.name` alone.
    """

    second_run: bool = False
    backbones: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Printed:
    """Which rules a search follows.

    Attributes:
      as_printed: the paper's rules, see `AS_PRINTED`, in place of the other settings of the search.
    """

    as_printed: bool = False


# The functions and classes that each group of settings is passed to. Their arguments and fields are
# the settings, with their defaults; their docstrings say what a setting means.
GROUPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "": (RunSettings,),
    "backbone": (make_backbone,),
    "init": (InitSettings,),
    "pretrain": (Training, Optimiser, PretrainSettings),
    "distil": (DistilSettings, TeacherSettings),
    "target": (Training, Optimiser, TargetSettings),
    "similarity": (SimilaritySettings,),
    "self_assl": (Penalty, SecondRun, TableSettings),
    "search": (SearchSettings, Printed),
}
STEPS = {"steps": 1000, "batch_size": 128}  # `Training` has no defaults for them
OTHER_DEFAULTS: dict[str, dict[str, Any]] = {
    "pretrain": STEPS,
    "target": {**STEPS, "learning_rate": 1e-4},
}

# The settings that a beginner needs, in the order in which `--help` shows those that there are.
FIRST_NEEDED = (
    *("data.path", "data.side", "data.shape", "data.window", "data.labels"),
    *("tasks", "backbone.name", "pretrain.steps", "pretrain.batch_size", "target.steps"),
    *("search.metric", "init.path", "seed"),
)
# Settings whose choices are the names of a table.
NAMED: dict[str, Mapping[str, Any]] = {
    "tasks": TASKS,
    "data.name": SOURCES,
    "backbone.name": BACKBONES,
    "backbone.stem": STEMS,
    "log_to": TRACKERS,
}


def base_config(data: str) -> ConfigDict:
    """Every setting with its default, for the data source named `data`.

    The keys of a group are those of `GROUPS`; `data` has the arguments of the source's function,
    and `task.*` the fields of the proxy tasks.
    """
    groups = {
        group: {k: v for kind in declaring for k, v in defaults(kind).items()}
        | OTHER_DEFAULTS.get(group, {})
        for group, declaring in GROUPS.items()
    }
    return ConfigDict(
        {
            **groups.pop(""),
            "data": {"name": data, **source_settings(data)},
            **groups,
            "task": {name: defaults(kind) for name, kind in TASKS.items()},
        }
    )


def complete(config: ConfigDict) -> None:
    """Give a config the settings of the tasks and the data source that it names.

    `base_config` has the settings of one source and of the tasks in `TASKS`. This adds those of
    tasks from other packages. If `data.name` is another source, `data` becomes its settings; values
    that both have stay.

    Raises:
      InputError: an unknown task or source; a setting that the config lacks, or that is unknown.
    """
    groups = {"data", "task", *defaults(RunSettings), *filter(None, GROUPS)}
    missing = sorted(groups - set(config))
    require(not missing, f"the config has no {', '.join(missing)}; begin with base_config")
    for kind in map(task_class, task_names(config)):
        if kind.name not in config.task:
            with config.unlocked():
                config.task[kind.name] = ConfigDict(defaults(kind))
    known = source_settings(config.data.name)
    if set(known) != set(config.data) - {"name"}:
        old = config.data.to_dict()
        kept = {key: old[key] for key in known if type(old.get(key)) is type(known[key])}
        with config.unlocked():
            config.data = ConfigDict({"name": old["name"], **known, **kept})
    kinds = TASKS | {kind.name: kind for kind in map(task_class, task_names(config))}
    for name, kind in kinds.items():
        _same_keys(config.task.get(name, {}), defaults(kind), f"task.{name}.")
    for group, declaring in GROUPS.items():
        names = [key for each in declaring for key in defaults(each)]
        _same_keys(config[group] if group else names, names, f"{group}.")


def _same_keys(given: Iterable[str], known: Iterable[str], group: str) -> None:
    """Raise `InputError` unless a group of a config has its settings, no other and all of them."""
    every = dict.fromkeys(group + key for key in known)
    for key in given:
        lookup(every, group + key, "the config's setting")
    missing = every.keys() - {group + key for key in given}
    require(not missing, f"the config has no {', '.join(sorted(missing))}; begin with base_config")


def meaning(config: ConfigDict, key: str) -> str:
    """What the setting `key` (as in "pretrain.steps") means; "" if nothing declares it."""
    name = key.rpartition(".")[2]
    return next(filter(None, (meanings(each).get(name) for each in _declaring(config, key))), "")


def choices(config: ConfigDict, key: str) -> list[str]:
    """The names that the setting `key` takes; none where it takes a number or any text."""
    if key in NAMED:
        return list(NAMED[key])
    name = key.rpartition(".")[2]
    allowed = [declared(each).get(name) for each in _declaring(config, key)]
    return next((list(each.names) for each in allowed if isinstance(each, OneOf)), [])


def _declaring(config: ConfigDict, key: str) -> tuple[Callable[..., Any], ...]:
    """The functions and classes of which one declares the setting `key`."""
    group = key.rpartition(".")[0]
    if group == "data":
        return load, source_of(config.data.name)
    return (TASKS[group.removeprefix("task.")],) if group.startswith("task.") else GROUPS[group]


def no_flips(config: ConfigDict) -> None:
    """Mirror no image: a mirrored digit is another one, and left and right of a body may matter."""
    for task in config.task.values():
        if "flip" in task:
            task.flip = False


def task_names(config: ConfigDict) -> list[str]:
    """The entries of `config.tasks` as the user wrote them."""
    return [name.strip() for name in config.tasks.split(",") if name.strip()]


def defaults(kind: Callable[..., Any]) -> dict[str, Any]:
    """The settings of a class or a function with their defaults; `parts` are not settings."""
    parts = ("intensity", "training", "optimiser", "penalty", "distil", "copies")
    arguments = inspect.signature(kind).parameters
    return {name: p.default for name, p in arguments.items() if name not in parts}
