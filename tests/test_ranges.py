"""Ranges of settings: what they allow, and that no numeric setting is without one."""

import dataclasses
from typing import Annotated, ClassVar

import pytest

from assl_jax.config import mistakes_of
from assl_jax.config_keys import GROUPS, base_config
from assl_jax.errors import InputError
from assl_jax.ranges import (
    Count,
    NonNegative,
    OneOf,
    Portion,
    Positive,
    Range,
    Seed,
    Share,
    Size,
    check,
    declared,
    mistakes,
)
from assl_jax.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Base:
    name: ClassVar[str] = "base"
    strength: NonNegative = 0.5
    free: float = -1.0


@dataclasses.dataclass(frozen=True)
class Derived(Base):
    strength: Share = 0.5
    kind: Annotated[str, OneOf(("gauss", "salt"))] = "gauss"


def times(n: Count = 1, *, label: str = "") -> int:
    return n


@pytest.mark.parametrize(
    ("kind", "fine", "wrong"),
    [
        (Count, (1, 10**9), (0, -1, 10**10)),
        (Size, (0, 7), (-1, 10**20)),
        (Seed, (0, 2**32 - 1), (-1, 2**32)),
        (Positive, (1e-30, 1e9), (0.0, -1.0, 1e10, float("inf"), float("nan"))),
        (NonNegative, (0.0, 3.0), (-1e-9, float("nan"), float("inf"))),
        (Share, (0.0, 1.0), (-0.1, 1.1, float("nan"))),
        (Portion, (1e-9, 1.0), (0.0, 1.1)),
    ],
)
def test_what_a_range_allows(kind, fine, wrong):
    (allowed,) = kind.__metadata__
    for value in fine:
        allowed.check(value, "group.key")
    for value in wrong:
        with pytest.raises(InputError, match=r"group\.key=.* must be "):
            allowed.check(value, "group.key")


def test_a_message_names_the_setting_and_its_bounds():
    with pytest.raises(InputError) as error:
        Range(above=0, below=1).check(1.0, "task.byol.momentum")
    assert str(error.value) == "task.byol.momentum=1.0 must be above 0 and below 1"
    with pytest.raises(InputError) as error:
        Range(at_least=1).check(10**20, "pretrain.steps")
    assert str(error.value) == f"pretrain.steps={10**20} must be at most 1e+09"


def test_a_class_has_what_it_inherits_and_its_own_declaration_wins():
    assert set(declared(Derived)) == {"strength", "kind"}
    assert declared(Derived)["strength"] == Range(at_least=0, at_most=1)
    assert declared(Base)["strength"] == Range(at_least=0)
    assert declared(times) == {"n": Range(at_least=1)}


def test_every_mistake_has_a_line():
    found = mistakes(
        declared(Derived), {"strength": 2.0, "kind": "slat", "free": -3.0}, "task.noise."
    )
    assert found == [
        "task.noise.strength=2.0 must be at least 0 and at most 1",
        "task.noise.kind='slat' is unknown; did you mean 'salt'? (one of gauss, salt)",
    ]
    assert mistakes(declared(Derived), {}) == []
    assert mistakes(declared(times), {"n": 0}) == ["n=0 must be at least 1"]
    with pytest.raises(InputError, match=r"^x\.strength=2.0 must be .*; x\.kind='slat' is unknown"):
        check(Derived(strength=2.0, kind="slat"), "x.")
    check(Derived())


def declarers():
    """Every group of settings, and the classes and functions that declare its settings."""
    yield from GROUPS.items()
    yield from ((f"task.{name}", (kind,)) for name, kind in TASKS.items())


def numbers(group):
    """The settings of a group that are numbers, with their defaults."""
    config = base_config("digits")
    for part in filter(None, group.split(".")):
        config = config[part]
    return {k: v for k, v in config.items() if type(v) in (int, float)}


@pytest.mark.parametrize("group", [group for group, _ in declarers()])
def test_every_number_has_a_range_and_the_default_is_in_it(group):
    kinds = dict(declarers())[group]
    ranges = {name: allowed for kind in kinds for name, allowed in declared(kind).items()}
    for name, default in numbers(group).items():
        assert isinstance(ranges.get(name), Range), name
        ranges[name].check(default, name)


@pytest.mark.parametrize("group", [group for group, _ in declarers() if numbers(group)])
@pytest.mark.parametrize("value", [-1, 10**20, float("nan"), float("inf")])
def test_a_wrong_number_is_named_once(group, value):
    for name, default in numbers(group).items():
        config = base_config("digits")
        config.tasks = group.removeprefix("task.") if group.startswith("task.") else "src"
        key = f"{group}.{name}".lstrip(".")
        wrong = type(default)(value) if abs(value) < float("inf") else value
        with config.ignore_type():
            config.update_from_flattened_dict({key: wrong})
        (found,) = mistakes_of(config)
        assert found.startswith(f"{key}={wrong} "), found


def test_all_mistakes_are_found_at_once():
    config = base_config("digits")
    config.seed, config.pretrain.steps, config.target.balance = -1, 0, "weight"
    config.task.src.overlap, config.self_assl.floor = 1.0, -0.5
    found = mistakes_of(config)
    for start in ("seed=-1", "pretrain.steps=0", "target.balance='weight'", "self_assl.floor=-0.5"):
        assert sum(line.startswith(start) for line in found) == 1, found
    assert len(found) == 5 and any("task.src.overlap=1.0" in line for line in found)
