"""Settings on the command line: `--config.KEY=VALUE`."""

import argparse
import ast
import contextlib
import difflib
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from ml_collections import ConfigDict

from assl_jax import records
from assl_jax.config import RunConfig, declared_settings
from assl_jax.config_reading import complete, defaults, gone, typed
from assl_jax.environment import program
from assl_jax.errors import InputError
from assl_jax.groups import settings as settings_of
from assl_jax.models import BackboneSettings, takes

PREFIX = "config."
# The settings that a beginner needs, in the order in which `--help` shows those that there are.
FIRST_NEEDED = (
    *("data.path", "data.side", "data.shape", "data.window", "data.labels"),
    *("tasks", "backbone.name", "pretrain.steps", "pretrain.batch_size", "target.steps"),
    *("search.metric", "init.path", "seed"),
)
FIRST = ("tasks", "data.name")  # they decide which other settings there are


def _switch(text: str) -> bool:
    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[
        text.lower()
    ]


def _list(text: str) -> tuple[Any, ...]:
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


# What a value must be, by the type of the default, and how it is read.
KINDS: dict[type, tuple[str, Callable[[str], Any]]] = {
    str: ("a text", str),
    int: ("a whole number", int),
    float: ("a number", float),
    bool: ("True or False", _switch),
    tuple: ('a list in brackets, as in "(32,96,96)"', _list),
}


class Options(argparse.ArgumentParser):
    """Options of a command, whose mistakes are `InputError`s."""

    def __init__(self, command: str, **settings: Any) -> None:
        """As `argparse.ArgumentParser`, for `assl-jax COMMAND`."""
        super().__init__(prog=f"{program()} {command}", **settings)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def add_force(self) -> None:
        """The option of every command that writes where the user says, see `outputs`."""
        self.add_argument(
            "--force", action="store_true", help="replace files that hold something else"
        )


def read(config: ConfigDict, arguments: Sequence[str], options: Collection[str] = ()) -> RunConfig:
    """The config of a run, with what the command line changes; raises all mistakes of both."""
    return typed(config, override(config, arguments, options))


def override(
    config: ConfigDict, arguments: Sequence[str], options: Collection[str] = ()
) -> list[str]:
    """Change a config in place as the command line says, where that is no mistake.

    Args:
      config: the config.
      arguments: `--config.KEY=VALUE` or `--config.KEY VALUE`; a setting that is True or False also
        as `--config.KEY` and `--noconfig.KEY`.
      options: names of the command's other options, which a mistyped one may be near to.

    Returns:
      All mistakes, one line each.
    """
    given, words = _read(arguments, _keys(config))
    mistakes = [f"unknown argument {word!r}" for word in words]
    for key in FIRST:
        if PREFIX + key in given:
            mistakes += _set(config, key, given.pop(PREFIX + key))
    with contextlib.suppress(InputError):  # `typed` finds it again
        complete(config)
    known = _keys(config)
    for name, value in given.items():
        key = name.removeprefix(PREFIX)
        if key != name and key in known:
            mistakes += _set(config, key, value)
        else:
            mistakes.append(gone(key) or f"--{name} is unknown; {_nearest(name, known, options)}")
    if f"{PREFIX}backbone.name" in given:
        with contextlib.suppress(InputError):  # as above
            _of_another_backbone(config, given)
    return mistakes


def _of_another_backbone(config: ConfigDict, given: Collection[str]) -> None:
    """Reset what a config sets for its own backbone and the one that the user names does not have.

    What the user gives too stays, and is refused later.
    """
    for setting, default in settings_of(BackboneSettings()).items():
        chosen = f"{PREFIX}backbone.{setting}" in given
        if not chosen and not takes(config.backbone.name, setting):
            config.backbone[setting] = default.value


def describe(config: ConfigDict, width: int = 100, *, every: bool = True) -> str:
    """Settings with their values in this config, meanings and choices, as text for a terminal.

    `every` shows more than the settings that a beginner needs.
    """
    values, declared = _keys(config), declared_settings(defaults(config)[0])
    lines = []
    for key in values if every else [key for key in FIRST_NEEDED if key in values]:
        setting = declared[key]
        names = ", ".join(setting.choices)
        words = [setting.meaning, *([f"choices: {names}"] if names else [])]
        wrapped = [line for each in words for line in textwrap.wrap(each, width - 6)]
        lines += [f"  --{PREFIX}{key}={written(values[key])}"]
        lines += [f"      {line}" for line in wrapped]
    return "\n".join(lines)


def _keys(config: ConfigDict) -> dict[str, Any]:
    """Every setting by its key, as in "pretrain.steps"."""
    return records.flat_settings(config.to_dict())


def written(value: Any) -> str:
    """A value as one writes it on the command line."""
    text = str(value).replace(" ", "") if isinstance(value, tuple) else str(value)
    return f'"{text}"' if isinstance(value, tuple) or not text else text


def _read(
    arguments: Sequence[str], known: Mapping[str, Any]
) -> tuple[dict[str, str | None], list[str]]:
    """The values by the names of the options, None where there is none; and the other words."""
    given: dict[str, str | None] = {}
    words = []
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        name, equals, value = argument.removeprefix("--").partition("=")
        switch = isinstance(known.get(name.removeprefix(PREFIX)), bool)
        if not argument.startswith("--"):
            words.append(argument)
        elif equals:
            given[name] = value
        elif name.startswith(f"no{PREFIX}"):
            given[name.removeprefix("no")] = "False"
        elif switch or not waiting or waiting[-1].startswith("--"):
            given[name] = None
        else:
            given[name] = waiting.pop()
    return given, words


def _set(config: ConfigDict, key: str, value: str | None) -> list[str]:
    """Set one value, given as text; the mistake, if it is one."""
    kind = type(_keys(config)[key])
    if value is None and kind is not bool:
        return [f"--{PREFIX}{key} has no value; write --{PREFIX}{key}=VALUE"]
    text = str(True) if value is None else value
    needed, parse = KINDS[kind]
    try:
        found = parse(text)
    except (ValueError, SyntaxError, KeyError):
        return [f"--{PREFIX}{key}={text} must be {needed}"]
    with config.unlocked():
        config.update_from_flattened_dict({key: found})
    return []


def _nearest(name: str, known: Mapping[str, Any], options: Collection[str]) -> str:
    """What a mistyped option may have been."""
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    key = name.removeprefix(PREFIX)
    near = [key] if key in known else same if len(same) < 4 else []
    every = [*(PREFIX + each for each in known), *options]
    found = [PREFIX + each for each in near] or difflib.get_close_matches(name, every, 1, 0.0)
    return f"did you mean {' or '.join(f'--{each}' for each in found)}?"
