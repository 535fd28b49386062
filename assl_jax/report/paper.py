"""The values printed in the paper "Aggregative Self-Supervised Feature Learning", see `paper.toml`.

Accuracies are in % and gains in points, as printed. Tasks have this library's names.
"""

import tomllib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import NamedTuple

DATA = {2: "STL-10", 3: "brain CT"}  # by the number of axes of an image


class Pair(NamedTuple):
    """A row of Tables 1, 2 or 3: the tasks `a1`, and `a2` trained together with them."""

    a1: tuple[str, ...]
    a2: str
    similarity: float
    avg: float
    max: float
    accuracy: float
    avg_gain: float
    max_gain: float


class Improvement(NamedTuple):
    """A row of Table 4: accuracies without and with Self-ASSL; None if not printed."""

    plain: float
    self_assl: float | None = None
    difference: float | None = None


_PRINTED = tomllib.loads((resources.files(__package__) / "paper.toml").read_text(encoding="utf-8"))


def _pairs(rows: Iterable[Sequence]) -> tuple[Pair, ...]:
    return tuple(Pair(tuple(a1), *others) for a1, *others in rows)


# Table 1 lists each pair under both of its tasks; this table lists it once, but one pair has two
# different results. Of Table 2, the pairs of SimCLR are left out, which are in Table 1.
TABLE_1, TABLE_2, TABLE_3 = (_pairs(_PRINTED[f"table_{i}"]) for i in (1, 2, 3))
(TABLE_1_UNDER_SRC,) = _pairs([_PRINTED["table_1_under_src"]])
CORRELATION: dict[str, dict[str, float]] = _PRINTED["correlation"]
# The first iteration of Tables 2 and 3, by number of axes.
SINGLES = {int(rank): dict(tasks) for rank, tasks in _PRINTED["singles"].items()}
# By number of axes and network.
TABLE_4 = {
    (int(rank), network): {task: Improvement(**printed) for task, printed in rows.items()}
    for rank, networks in _PRINTED["table_4"].items()
    for network, rows in networks.items()
}
SCRATCH = {key: rows.pop("scratch").plain for key, rows in TABLE_4.items()}


def network(backbone: str) -> str:
    """The paper's network that a backbone is compared with: VGG or ResNet-18."""
    return "VGG" if backbone.startswith("vgg") else "ResNet-18"


def pair(rank: int, pool: Iterable[str], *, under: str = "") -> Pair | None:
    """The row of a pool of at least two tasks, in any order; None if the paper has no such row.

    `rank` is the number of axes of an image. The task that the row is listed `under` matters for
    one pair.
    """
    tables = {2: (*TABLE_1, *TABLE_2), 3: TABLE_3}
    wanted = frozenset(pool)
    if rank == 2 and under == "src" and wanted == {"src", "jigsaw"}:
        return TABLE_1_UNDER_SRC
    rows = (row for row in tables[rank] if frozenset((*row.a1, row.a2)) == wanted)
    return next(rows, None)


def improvement(rank: int, backbone: str, task: str) -> Improvement | None:
    """A task's row of Table 4, or None."""
    return TABLE_4[rank, network(backbone)].get(task)


def accuracy(rank: int, backbone: str, pool: Sequence[str], variant: str = "plain") -> float | None:
    """The accuracy (%) after one pretraining, from Tables 1 to 3, else Table 4; or None.

    The pool is empty from scratch. Of the variants, the paper has "plain" and "self_assl".
    """
    if not pool:
        return SCRATCH[rank, network(backbone)]
    row = improvement(rank, backbone, pool[0]) if len(pool) == 1 else None
    if variant != "plain":
        return row.self_assl if row and variant == "self_assl" else None
    if network(backbone) == "VGG":
        return row.plain if row else None
    if len(pool) > 1:
        extended = pair(rank, pool)
        return extended.accuracy if extended else None
    return SINGLES[rank].get(pool[0], row.plain if row else None)
