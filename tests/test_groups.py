"""Groups of settings: what their classes declare, and how values become a group."""

import dataclasses
from typing import Annotated

import pytest

from assl_jax.errors import InputError
from assl_jax.groups import Setting, build, settings
from assl_jax.ranges import NonNegative, OneOf, Part, check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A part.

    Attributes:
      rate: of learning.
      kind: how it falls.
    """

    rate: NonNegative = 0.5
    kind: Annotated[str, OneOf(("constant", "cosine"))] = "cosine"

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """A group.

    Attributes:
      schedule: a part.
      sizes: a list.
      extra: no setting.
    """

    schedule: Part[Schedule] = Schedule(rate=0.25)
    sizes: tuple[int, ...] = ()
    extra: dict[str, int] | None = None


def test_the_settings_of_a_part_stand_in_its_group():
    found = settings(Group())
    assert list(found) == ["rate", "kind", "sizes"]
    assert found["rate"] == Setting(0.25, NonNegative.__metadata__[0], "of learning.")
    assert found["kind"].choices == ["constant", "cosine"] and found["rate"].choices == []


def test_values_become_a_group():
    assert build(Group(), {"kind": "constant", "sizes": (3,), "other": 1}) == Group(
        schedule=Schedule(rate=0.25, kind="constant"), sizes=(3,)
    )
    with pytest.raises(InputError, match=r"^rate=-1.0 must be at least 0"):
        build(Group(), {"rate": -1.0})
