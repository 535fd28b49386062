"""The config: every setting of a run, as one tree of frozen dataclasses.

A config file gives a `ConfigDict` that begins with `base_config`; `config_reading.typed` turns it
into a `RunConfig`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from ml_collections import ConfigDict

from assl_jax.data import SOURCES, Dataset, Source, source_of
from assl_jax.data.digits import Digits
from assl_jax.evaluation.student import StudentSettings
from assl_jax.groups import Setting, settings
from assl_jax.interop.start import InitSettings, teacher_paths
from assl_jax.models import BackboneSettings, suggest_delay, takes
from assl_jax.objectives.distilled import Distilled
from assl_jax.ranges import Count, Names, OneOf, Part, Seed, check, declared
from assl_jax.records import SCRATCH, START, Pool
from assl_jax.strategies.settings import (
    AS_PRINTED_TRAINING,
    DistilSettings,
    PretrainSettings,
    SearchSettings,
    SelfASSLSettings,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.tasks import TASKS, ProxyTask, task_class
from assl_jax.training.checkpoint import CheckpointPolicy
from assl_jax.training.feed import PLACEMENTS
from assl_jax.training.trackers import TRACKERS

EXPERIMENTS = ("mtassl", "pairs", "table4", "self_assl", "pretrain", "finetune")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the images come from.

    Attributes:
      name: the data source: one of `SOURCES`, of another package, or `module:Class`.
      source: its settings.
    """

    name: Annotated[str, Names(SOURCES)] = "digits"
    source: Part[Source] = Digits()

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
      checkpoints: when a training writes them.
      log_every: steps between two lines of its log.
      log_to: where the curves of a training are shown, separated by commas; see `TRACKERS` in
        `training/trackers.py`.
      data, backbone, init, pretrain, distil, target, student, similarity, self_assl, search: groups
        of settings.
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
    checkpoints: Part[CheckpointPolicy] = CheckpointPolicy()
    log_every: Count = 50
    log_to: Annotated[str, Names(TRACKERS)] = "tensorboard"
    data: DataSettings = DataSettings()
    backbone: BackboneSettings = BackboneSettings()
    init: InitSettings = InitSettings()
    pretrain: PretrainSettings = PretrainSettings()
    distil: DistilSettings = DistilSettings()
    target: TargetSettings = TargetSettings()
    similarity: SimilaritySettings = SimilaritySettings()
    student: StudentSettings = StudentSettings()
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
        taken = {*TASKS, Distilled.name, SCRATCH.label, START}
        return teacher_paths(self.distil.teachers, taken)

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the tasks and of the teachers, of which pools are formed."""
        return (*self.pool, *self.teachers)

    @property
    def twice(self) -> list[Pool]:
        """The pools that a comparison with Self-ASSL trains twice."""
        return [self.pool] if self.experiment == "self_assl" else [(name,) for name in self.pool]

    @property
    def cross_validated(self) -> bool:
        """Whether networks are also cross-validated inside the labelled sets, to select by it."""
        return self.experiment == "mtassl" and self.search.in_force.select_on == "cv"

    @property
    def in_force(self) -> "RunConfig":
        """The same with the values that hold where one setting overrules another."""
        pretrain, target = self.pretrain, self.target
        if self.search.as_printed and self.experiment == "mtassl":
            pretrain = dataclasses.replace(pretrain, **AS_PRINTED_TRAINING)
        if not (self.cross_validated or target.chooses_rate):
            target = dataclasses.replace(target, folds=0)
        return dataclasses.replace(
            self, pretrain=pretrain, target=target, search=self.search.in_force
        )

    def backbones(self, space: tuple[int, ...] = ()) -> list[BackboneSettings]:
        """The backbones that are compared, in most experiments one.

        With the space of the images, one that no delay is set for has that which suits them.
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
    own = declared(RunConfig)  # a part of the config's own group is there
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    found = {
        f"{name}.": each
        for name, each in fields.items()
        if dataclasses.is_dataclass(each) and name not in own
    }
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
