"""The config: every setting of a run, as one tree of frozen dataclasses.

A config file gives a `ConfigDict` that begins with `base_config`. `typed` turns it into a
`RunConfig`, once, and names all mistakes.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ml_collections import ConfigDict

from assl_jax.data import SOURCES, Dataset, Source, source_of
from assl_jax.errors import InputError, Mistakes, nearest, require
from assl_jax.groups import Setting, build, refused, settings
from assl_jax.interop.start import TEACHERS, InitSettings, teacher_paths
from assl_jax.models import BackboneSettings, suggest_delay, takes
from assl_jax.ranges import Count, Names, OneOf, Part, Seed, check
from assl_jax.records import CONFIG, flat_settings, read_settings
from assl_jax.strategies.network import SCRATCH, START
from assl_jax.strategies.settings import (
    AS_PRINTED_MIXING,
    DistilSettings,
    PretrainSettings,
    SearchSettings,
    SelfASSLSettings,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.tasks import TASKS, ProxyTask, task_class
from assl_jax.tasks.distillation import Distillation
from assl_jax.training.feed import PLACEMENTS
from assl_jax.training.trackers import TRACKERS, trackers_of

EXPERIMENTS = ("mtassl", "pairs", "table4", "self_assl", "pretrain", "finetune")
TAUGHT = ("mtassl", "pretrain")  # experiments whose pools may have teachers


class Gone(NamedTuple):
    """A setting of earlier versions.

    Attributes:
      value: that every run has now; a saved config with this value is still read.
      now: what to do.
    """

    value: Any
    now: str


# Settings that are no more: their old keys.
GONE = {
    "pretrain.moments": Gone("per_task", "each task of a pool has Adam's moments of its own now"),
    "joint.balance": Gone("gradient", "the gradients of a joint pool are always brought to a norm"),
    "joint.weight": Gone(1.0, "all tasks of a joint pool weigh the same now"),
    "self_assl.ridge": Gone(0.1, "it is always 0.1 now"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the images come from.

    Attributes:
      name: the data source: one of `SOURCES`, of another package, or `module:Class`.
      source: its settings.
    """

    name: Annotated[str, Names(SOURCES)] = "digits"
    source: Part[Source] = SOURCES["digits"]()

    def load(self) -> Dataset:
        """Read the images and labels; raises as the source does."""
        return self.source.load()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Every setting of a run. A field that holds a dataclass is a group of settings.

    Attributes:
      experiment: what is run, see `experiment.EXPERIMENTS`.
      seed: of all random numbers.
      tasks: the proxy tasks, separated by commas; a task of your own as `module:Class`.
      images_on: where the images are kept during training, see `Feed`: "device", "host", or "auto".
      keep_compiled: keep compiled programs in the folder `compiled` next to the stages.
      eval_batch_size: images in a batch when a network is evaluated.
      checkpoint_every: steps between two checkpoints of a training.
      log_every: steps between two lines of its log.
      log_to: where the curves of a training are shown, separated by commas; see `TRACKERS` in
        `training/trackers.py`.
      data, backbone, init, pretrain, distil, target, similarity, self_assl, search: groups.
      task: a group for each proxy task, by name.

    Raises:
      InputError: a number out of range, or an unknown choice.
    """

    experiment: Annotated[str, OneOf(EXPERIMENTS)] = "mtassl"
    seed: Seed = 0
    tasks: Annotated[str, Names(TASKS)] = "src,mcpc,jigsaw,rotation,inpaint,simclr"
    images_on: Annotated[str, OneOf(PLACEMENTS)] = "auto"
    keep_compiled: bool = True
    eval_batch_size: Count = 256
    checkpoint_every: Count = 1000
    log_every: Count = 50
    log_to: Annotated[str, Names(TRACKERS)] = "tensorboard"
    data: DataSettings = DataSettings()
    backbone: BackboneSettings = BackboneSettings()
    init: InitSettings = InitSettings()
    pretrain: PretrainSettings = PretrainSettings()
    distil: DistilSettings = DistilSettings()
    target: TargetSettings = TargetSettings()
    similarity: SimilaritySettings = SimilaritySettings()
    self_assl: SelfASSLSettings = SelfASSLSettings()
    search: SearchSettings = SearchSettings()
    task: Mapping[str, ProxyTask] = dataclasses.field(
        default_factory=lambda: {name: kind() for name, kind in TASKS.items()}
    )

    def __post_init__(self) -> None:
        check(self)

    @functools.cached_property
    def pool(self) -> tuple[str, ...]:
        """The names of the proxy tasks."""
        return tuple(task_class(name).name for name in words(self.tasks))

    @functools.cached_property
    def teachers(self) -> dict[str, Path]:
        """The paths of `distil.teachers` by name; raises as `teacher_paths` does."""
        taken = {*TASKS, Distillation.name, SCRATCH.label, START.label}
        return teacher_paths(self.distil.teachers, taken)

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the tasks and of the teachers, of which pools are formed."""
        return (*self.pool, *self.teachers)

    @property
    def cross_validated(self) -> bool:
        """Whether networks are also cross-validated inside the labelled sets, to select by it."""
        return self.experiment == "mtassl" and self.search.in_force.select_on == "cv"

    @property
    def in_force(self) -> "RunConfig":
        """The same with the values that hold where one setting overrules another."""
        pretrain, target = self.pretrain, self.target
        if self.search.as_printed and self.experiment == "mtassl":
            pretrain = dataclasses.replace(pretrain, mixing=AS_PRINTED_MIXING)
        if not (self.cross_validated or target.chooses_rate):
            target = dataclasses.replace(target, folds=0)
        return dataclasses.replace(
            self, pretrain=pretrain, target=target, search=self.search.in_force
        )

    def backbones(self, space: tuple[int, ...] = ()) -> list[BackboneSettings]:
        """The backbones that are compared, in most experiments one.

        Args:
          space: of the images, for the delay of a backbone that none is set for; () leaves it.
        """
        own, suggested = self.backbone, suggest_delay(space) if space else ()
        names = self.self_assl.backbones or (own.name,)
        delays = [own.delay or (suggested if takes(name, "delay") else ()) for name in names]
        return [
            dataclasses.replace(own, name=name, delay=delay)
            for name, delay in zip(names, delays, strict=True)
        ]


def words(text: str) -> list[str]:
    """The entries of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def groups(config: RunConfig) -> dict[str, Any]:
    """The groups of settings by the prefix of their keys; that of the config's own is ""."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    found = {f"{name}.": each for name, each in fields.items() if dataclasses.is_dataclass(each)}
    return {"": config} | found | {f"task.{name}.": task for name, task in config.task.items()}


def declared_settings(config: RunConfig) -> dict[str, Setting]:
    """Every setting of a config by its key, as in "pretrain.steps"."""
    return {
        prefix + name: setting
        for prefix, group in groups(config).items()
        for name, setting in settings(group).items()
    }


def plain(config: RunConfig) -> dict[str, Any]:
    """The settings as nested plain values, as `config.json` keeps them."""
    tree: dict[str, Any] = {}
    for prefix, group in groups(config).items():
        node = tree
        for part in prefix.split(".")[:-1]:
            node = node.setdefault(part, {})
        node.update({name: setting.value for name, setting in settings(group).items()})
    return tree


def base_config(data: str) -> ConfigDict:
    """Every setting with its default, for the data source named `data`."""
    return ConfigDict(plain(RunConfig(data=DataSettings(name=data, source=source_of(data)()))))


def no_flips(config: ConfigDict) -> None:
    """Mirror no image: a mirrored digit is another one, and left and right of a body may matter."""
    for task in config.task.values():
        if "flip" in task:
            task.flip = False


def complete(config: ConfigDict) -> None:
    """Give a config the settings of the tasks and of the data source that it names.

    `base_config` has those of one source and of the tasks in `TASKS`. If `data.name` is another
    source, `data` becomes its settings; values that both have stay.

    Raises:
      Mistakes: no such group; an unknown task or source. What is known is added.
    """
    missing = sorted({*plain(RunConfig())} - {*config})
    require(not missing, f"the config has no {', '.join(missing)}; begin with base_config")
    tree, unknown = defaults(config)
    known = plain(tree)
    with config.unlocked():
        for name in known["task"].keys() - {*config.task}:
            config.task[name] = ConfigDict(known["task"][name])
        if "data" in known and known["data"].keys() != {*config.data}:
            old = config.data.to_dict()
            same = [key for key, v in known["data"].items() if type(old.get(key)) is type(v)]
            config.data = ConfigDict(known["data"] | {key: old[key] for key in same})
    if unknown:
        raise Mistakes(unknown.values())


def defaults(config: ConfigDict) -> tuple[RunConfig, dict[str, str]]:
    """The defaults of all settings, for the data source and the tasks that a config names.

    Returns:
      The defaults, and a line for each setting, "data" or "tasks", that names something unknown.
      Without a known source `data` is None.
    """
    kinds, data, unknown = dict(TASKS), None, {}
    for name in words(config.tasks):
        try:
            kind = task_class(name)
            kinds[kind.name] = kind
        except InputError as error:
            unknown["tasks"] = str(error)
    try:
        data = DataSettings(name=config.data.name, source=source_of(config.data.name)())
    except InputError as error:
        unknown["data"] = str(error)
    tasks = {name: kind() for name, kind in kinds.items()}
    return RunConfig(data=data, task=tasks), unknown  # type: ignore[arg-type]  # as said


def gone(key: str) -> str:
    """What to say of a key of earlier versions; "" for any other."""
    return f"{key} is gone: {GONE[key].now}; leave it out" if key in GONE else ""


def without_gone(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings, flat, without those of earlier versions whose value every run has now."""
    flat = flat_settings(dict(tree))
    return {k: v for k, v in flat.items() if k not in GONE or v != GONE[k].value}


def typed(config: ConfigDict) -> RunConfig:
    """The config with a type, which the program reads.

    Raises:
      Mistakes: all that is wrong with it, as far as it shows without the data.
    """
    config = ConfigDict(config.to_dict())
    with contextlib.suppress(Mistakes):  # unknown names are told below
        complete(config)
    flat = flat_settings(config.to_dict())
    tree, unknown = defaults(config)
    lines, wrong = [*unknown.values(), *_strangers(flat, tree, unknown)], {*unknown}
    read = {}
    for prefix, group in groups(tree).items():
        read[prefix], found = _read(group, flat, prefix)
        lines += found
        wrong |= {prefix.partition(".")[0]} if found else set()
    tasks = {name: read[f"task.{name}."] for name in tree.task}
    parts = {prefix.removesuffix("."): group for prefix, group in read.items()}
    of_config = {name: group for name, group in parts.items() if hasattr(tree, name)}
    tree = dataclasses.replace(read[""], **of_config, task=tasks)
    for reads, conflict in CONFLICTS:
        if wrong.isdisjoint(reads.split(" ")):
            try:
                conflict(tree)
            except InputError as error:
                lines.append(str(error))
    if lines:
        raise Mistakes(lines)
    return tree


def _strangers(flat: Mapping[str, Any], tree: RunConfig, unknown: Container[str]) -> Iterator[str]:
    """A line for each key of a config that is no setting, and for those that it lacks."""
    known = declared_settings(tree)
    for key in sorted(flat.keys() - known.keys()):
        group = key.rpartition(".")[0]
        if group not in unknown:
            same = [each for each in known if each.rpartition(".")[0] == group]
            yield gone(key) or nearest(same or known, key, "the config's setting")
    if missing := sorted(known.keys() - flat.keys()):
        yield f"the config has no {', '.join(missing)}; begin with base_config"


def _read(group: Any, flat: Mapping[str, Any], prefix: str) -> tuple[Any, list[str]]:
    """A group with its values in a config, and a line for each that is wrong."""
    known = settings(group)
    values = {name: flat[prefix + name] for name in known if prefix + name in flat}
    if found := refused(known, values, prefix):
        return group, found
    try:
        return build(group, values), []
    except InputError as error:  # a class may not know the group that it stands in
        whole = re.match(r"\w+=", str(error)) is None
        return group, [str(error) if whole else f"{prefix}{error}"]
    except TypeError as error:
        return group, [f"{prefix.replace('.', ' ').strip()}: {error}"]


def _fitting_pool(config: RunConfig) -> None:
    """The tasks suit each other and the experiment."""
    names, tasks, experiment = config.pool, config.tasks, config.experiment
    require(bool(names), "tasks is empty; name at least one, as in tasks=src,rotation")
    require(len(set(names)) == len(names), f"tasks={tasks!r} names a task twice")
    require(
        experiment != "pairs" or len(names) > 1,
        f"experiment=pairs needs at least two tasks, not tasks={tasks}",
    )
    require(
        not (experiment == "self_assl" and config.pretrain.mixing == "distil" and names[1:]),
        "experiment=self_assl cannot train a pool twice with pretrain.mixing=distil; use alternate",
    )


def _used_teachers(config: RunConfig) -> None:
    """The teachers exist, and have a use."""
    mixing = config.in_force.pretrain.mixing
    require(
        not config.teachers or config.experiment in TAUGHT,
        f"experiment={config.experiment} has no use for {TEACHERS}; leave it empty, or use "
        f"{' or '.join(TAUGHT)}",
    )
    require(
        not config.teachers or mixing == "distil",
        f"{TEACHERS} needs pretrain.mixing=distil (and not search.as_printed), not {mixing}",
    )


def _enough_folds(config: RunConfig) -> None:
    """There are folds if a cross-validation decides something."""
    require(
        config.in_force.target.folds != 1,
        f"target.folds={config.target.folds}: cross-validation needs at least 2; or set "
        "search.select_on=test and no target.learning_rates",
    )


def _start_weights(config: RunConfig) -> None:
    require(
        config.experiment != "finetune" or bool(config.init.path),
        "experiment=finetune needs weights to start from; set init.path",
    )


# What depends on several settings: the fields of `RunConfig` that it reads, and the check. The
# config's own settings, without a group, are "".
CONFLICTS: tuple[tuple[str, Callable[[RunConfig], Any]], ...] = (
    (" ", lambda config: trackers_of(config.log_to)),
    (" tasks pretrain", _fitting_pool),
    (" backbone self_assl", lambda config: [each.module() for each in config.backbones()]),
    (" tasks distil pretrain target search", _used_teachers),
    (" target search", _enough_folds),
    (" init", _start_weights),
)


def saved_config(workdir: Path) -> ConfigDict:
    """The config of a run that was started in `workdir`.

    Raises:
      InputError: no run there, or a config that this version does not understand.
    """
    saved = read_settings(workdir / CONFIG)
    try:
        config = base_config(saved["data"]["name"])
        config.tasks = saved.get("tasks", config.tasks)
        complete(config)
        flat = without_gone(saved)
        if strange := sorted(flat.keys() - flat_settings(config.to_dict()).keys()):
            raise KeyError(gone(strange[0]) or strange[0])
        config.update_from_flattened_dict(flat)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{workdir / CONFIG} is not a config of this version ({error}); run it again"
        ) from error
    return config
