"""A stage: one piece of work as data. A run is a graph of them."""

import dataclasses
import functools
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from assl_jax.files import digest
from assl_jax.records import Findings, Network, StageRecord
from assl_jax.strategies.identity import code_digest

LABEL = 120  # letters of a network's label in a name of a folder, which has at most 255
# Raise the version of a kind when its code changes the numbers of finished stages: the code of
# training loops is not part of a stage's identity, see `StageSpec`.
VERSIONS = {
    "given": 1,
    "pretrain": 1,
    "finetune": 1,
    "rate": 1,
    "select": 1,
    "features": 1,
    "probe": 1,
}


@dataclasses.dataclass(frozen=True, eq=False)
class StageSpec:
    """What is computed, and from what; nothing about when or where.

    Attributes:
      kind: a key of `VERSIONS`.
      network: what is trained or looked at.
      backbone: name of its architecture, which tells the studies of a run apart.
      settings: plain values that determine the result: every setting that the kind reads, and
        digests of the images, labels and weights.
      parents: the stages whose files it reads.
      roots: the objectives, tasks and the user's own classes whose code counts, see `code_digest`.
    """

    kind: str
    network: Network
    backbone: str
    settings: dict[str, Any]
    parents: "tuple[StageSpec, ...]" = ()
    roots: tuple[Any, ...] = ()

    @functools.cached_property
    def settings_key(self) -> str:
        """The digest of the settings and of those of the stages before it."""
        return digest([self.kind, self.settings, [p.settings_key for p in self.parents]])

    @functools.cached_property
    def source(self) -> str:
        """The digest of the code that the stage itself reaches."""
        return digest([VERSIONS[self.kind], code_digest(*self.roots)])

    @functools.cached_property
    def code_key(self) -> str:
        """The digest of the code, and of that of the stages before it."""
        return digest([self.source, [p.code_key for p in self.parents]])

    @property
    def stem(self) -> str:
        """The name of its folder without the digest of the code."""
        return f"{self.kind}-{self.network.label[:LABEL]}-{self.settings_key}"

    @functools.cached_property
    def name(self) -> str:
        """The name of its folder, which is its identity."""
        return f"{self.stem}-{self.code_key}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StageSpec) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
      spec: what was computed.
      name: of its folder; with `--reuse=settings` other code may have computed it.
      folder: its files.
      record: what `done.json` holds.
    """

    spec: StageSpec
    name: str
    folder: Path
    record: StageRecord


# An experiment: it yields the stages that it needs next, reads their results when it goes on, and
# returns what it found. It trains nothing itself.
Plan = Generator[Sequence[StageSpec], None, Findings]
Step = Generator[Sequence[StageSpec], None, None]  # a part of a plan


def with_parents(specs: Iterable[StageSpec]) -> list[StageSpec]:
    """Some stages and all that they read, each once, parents first."""
    found: dict[StageSpec, None] = {}

    def add(spec: StageSpec) -> None:
        if spec not in found:
            for parent in spec.parents:
                add(parent)
            found[spec] = None

    for spec in specs:
        add(spec)
    return list(found)
