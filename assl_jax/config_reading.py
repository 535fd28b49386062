"""From a `ConfigDict` to the typed config, once, with all mistakes."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from assl_jax.config import (
    DataSettings,
    RunConfig,
    base_config,
    declared_settings,
    groups,
    plain,
    words,
)
from assl_jax.data import source_of
from assl_jax.errors import InputError, Mistakes, nearest, require
from assl_jax.groups import build, settings
from assl_jax.interop.start import TEACHERS
from assl_jax.ranges import mistakes
from assl_jax.records import CONFIG, flat_settings, read_settings
from assl_jax.tasks import TASKS, task_class
from assl_jax.training.trackers import trackers_of

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
    "joint.balance": Gone(
        "gradient", "the gradients of a joint pool are always brought to one norm"
    ),
    "joint.weight": Gone(1.0, "all tasks of a joint pool weigh the same now"),
    "self_assl.ridge": Gone(0.1, "it is always 0.1 now"),
    "search.accept": Gone("one_standard_error", "the search keeps the best estimate now"),
    "search.gate": Gone(True, "training from scratch is always compared now"),
    "search.control": Gone(True, "every round also trains the network further alone now"),
}


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

    A line for each setting, "data" or "tasks", that names something unknown comes with them.
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


def typed(config: ConfigDict, told: Iterable[str] = ()) -> RunConfig:
    """The config with a type, which the program reads.

    Args:
      config: as `get_config` of a config file returns it.
      told: lines on mistakes that were found before, to be shown with those of the config.

    Raises:
      Mistakes: all that is wrong with it, as far as it shows without the data.
    """
    config = ConfigDict(config.to_dict())
    with contextlib.suppress(Mistakes):  # unknown names are told below
        complete(config)
    flat = flat_settings(config.to_dict())
    tree, unknown = defaults(config)
    lines, wrong = [*told, *unknown.values(), *strangers(flat, tree, unknown)], {*unknown}
    read = {}
    for prefix, group in groups(tree).items():
        read[prefix], found = _read(group, flat, prefix)
        lines += found
        wrong |= {prefix.partition(".")[0]} if found else set()
    own, tasks = read.pop(""), {name: read.pop(f"task.{name}.") for name in tree.task}
    parts = {prefix.removesuffix("."): group for prefix, group in read.items()}
    tree = dataclasses.replace(own, **parts, task=tasks)
    for reads, conflict in CONFLICTS:
        if wrong.isdisjoint(reads.split(" ")):
            try:
                conflict(tree)
            except InputError as error:
                lines.append(str(error))
    if lines:
        raise Mistakes(lines)
    return tree


def strangers(flat: Mapping[str, Any], tree: RunConfig, unknown: Container[str]) -> Iterator[str]:
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
    allowed = {name: each.allowed for name, each in known.items() if each.allowed}
    if found := mistakes(allowed, values, prefix):
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
    needed = config.cross_validated or config.target.chooses_rate
    require(
        not needed or config.target.folds >= 2,
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
    """The config of a run that was started in `workdir`."""
    saved = read_settings(workdir / CONFIG)
    try:
        config = base_config(saved["data"]["name"])
        config.tasks = saved.get("tasks", config.tasks)
        complete(config)
        flat = without_gone(saved)
        if strange := sorted(flat.keys() - flat_settings(config.to_dict()).keys()):
            raise KeyError(gone(strange[0]) or strange[0])
        with config.ignore_type():  # `typed` says what a value must be
            config.update_from_flattened_dict(flat)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{workdir / CONFIG} is not a config of this version ({error}); run it again"
        ) from error
    return config
