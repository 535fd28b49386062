"""Ranges of settings: what they allow, and that no numeric setting is without one."""

import dataclasses
import math
from typing import Annotated, ClassVar

import pytest
from mistakes import mistakes_of

from assl_jax.config import RunConfig, base_config, groups
from assl_jax.errors import InputError
from assl_jax.groups import settings
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


@dataclasses.dataclass(frozen=True)
class Base:
    name: ClassVar[str] = "base"
    strength: NonNegative = 0.5
    free: float = -1.0


@dataclasses.dataclass(frozen=True)
class Derived(Base):
    strength: Share = 0.5
    kind: Annotated[str, OneOf(("gauss", "salt"))] = "gauss"


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


def test_a_class_has_what_it_inherits_and_its_own_declaration_wins():
    assert set(declared(Derived)) == {"strength", "kind"}
    assert declared(Derived)["strength"] == Range(at_least=0, at_most=1)
    assert declared(Base)["strength"] == Range(at_least=0)


def test_every_mistake_has_a_line():
    found = mistakes(
        declared(Derived), {"strength": 2.0, "kind": "slat", "free": -3.0}, "task.noise."
    )
    assert found == [
        "task.noise.strength=2.0 must be at least 0 and at most 1",
        "task.noise.kind='slat' is unknown; did you mean 'salt'? (one of gauss, salt)",
    ]
    assert mistakes(declared(Derived), {}) == []
    odd = {
        "strength": float("nan"),
        "free": float("inf"),
        "kind": "salt",
        "sizes": (1.0, -math.inf),
    }
    assert mistakes(declared(Derived), odd, "x.") == [
        "x.strength=nan is not a finite number",
        "x.free=inf is not a finite number",
        "x.sizes=(1.0, -inf) is not a finite number",
    ]
    with pytest.raises(InputError, match=r"^x\.strength=2.0 must be .*; x\.kind='slat' is unknown"):
        check(Derived(strength=2.0, kind="slat"), "x.")
    check(Derived())


# The settings of each group that are numbers.
NUMBERS = {
    prefix: {
        name: each for name, each in settings(group).items() if type(each.value) in (int, float)
    }
    for prefix, group in groups(RunConfig()).items()
}


@pytest.mark.parametrize("prefix", NUMBERS)
def test_every_number_has_a_range_and_the_default_is_in_it(prefix):
    for name, setting in NUMBERS[prefix].items():
        assert isinstance(setting.allowed, Range), name
        setting.allowed.check(setting.value, name)


@pytest.mark.parametrize("prefix", [prefix for prefix in NUMBERS if NUMBERS[prefix]])
@pytest.mark.parametrize("value", [-1, 10**20, float("nan"), float("inf")])
def test_a_wrong_number_is_named_once(prefix, value):
    for name, setting in NUMBERS[prefix].items():
        config = base_config("digits")
        wrong = type(setting.value)(value) if abs(value) < float("inf") else value
        with config.ignore_type():
            config.update_from_flattened_dict({f"{prefix}{name}": wrong})
        (found,) = mistakes_of(config)
        assert found.startswith(f"{prefix}{name}={wrong} "), found
