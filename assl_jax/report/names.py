"""Titles, colours and keys of tasks, pools, networks and backbones, for every part of a report."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from assl_jax.errors import InputError
from assl_jax.models import backbone_entry
from assl_jax.records import Network, Pool, Results, ending
from assl_jax.report.colours import GREY
from assl_jax.tasks import TASKS, describe
from assl_jax.words import WORDS, say

PALETTE = tuple(task.colour for task in TASKS.values())
ORDER = (
    "scratch",
    "start",
    "plain",
    "second_run",
    "self_assl",
    "continued",
    "student",
)  # of variants


class Label(NamedTuple):
    """What tells a network from others, for readers; by default the one from scratch.

    Attributes:
      pool: the proxy tasks; empty from scratch, and for the start weights alone.
      variant: one of `ORDER`.
      backbone: name of the architecture; "" if the run has one.
      seed: number of the pretraining; from 0.
      share: of the pretraining, below 1 at a rung of a search.
      path: the title of a network that goes on or is a student, whose pool does not tell it all.
    """

    pool: Pool = ()
    variant: str = "scratch"
    backbone: str = ""
    seed: int = 0
    share: float = 1.0
    path: str = ""

    @classmethod
    def of(cls, network: Network, backbone: str = "") -> "Label":
        """The label of a network, with its backbone if the run has several."""
        path = ""
        if network.variant in ("continued", "student"):
            path = network.repeated(0).replace(share=1.0).title(task_title)
        own = network.members, network.variant, backbone, network.seed, network.share
        return cls(*own, path)

    @classmethod
    def trained(cls, *pool: str) -> "Label":
        """The label of the first training of some tasks."""
        return cls(pool, "plain")

    def __eq__(self, other: object) -> bool:
        """The order of a pool does not matter."""
        return isinstance(other, Label) and hash(self) == hash(other)

    def __hash__(self) -> int:
        return hash((frozenset(self.pool), *self[1:]))

    @property
    def single(self) -> bool:
        """Whether it is the first training of one task."""
        return len(self.pool) == 1 and self.variant == "plain" and self.share == 1

    @property
    def title(self) -> str:
        """`"VGG-16: SRC + Rotation, Self-ASSL, pretraining 2"`."""
        own = self.path or pool_title(self.pool) or say(f"network.{self.variant}")
        start = f"{backbone_title(self.backbone)}: " if self.backbone else ""
        return start + own + ending("" if self.path else self.variant, self.share, self.seed)

    @property
    def colour(self) -> str:
        """That of the last task, the same in every chart; grey from scratch."""
        return describe(self.pool[-1]).colour if self.pool else GREY

    @property
    def key(self) -> tuple[frozenset[str], str]:
        """What is equal for one pretraining of two runs: the tasks in any order, and the rest."""
        return frozenset(self.pool), self.path or self.variant


SCRATCH, START = Label(), Label((), "start")
Labels = Mapping[str, Label]  # by the label of a stage, as its log has it


def titles(results: Results) -> dict[str, str]:
    """The titles of the networks of a run by their labels."""
    several = len({network.backbone for network in results.networks}) > 1
    return {
        each.label: Label.of(each.network, each.backbone * several).title
        for each in results.networks
    }


def inside(title: str) -> str:
    """A network's title inside a sentence: "the student of SRC and Rotation"."""
    for variant in ("scratch", "start", "student"):
        begin = WORDS[f"network.{variant}"].partition(" {")[0]
        if title.startswith(begin):
            return WORDS[f"network.{variant}.inside"] + title.removeprefix(begin)
    return title


def task_title(task: str) -> str:
    """A task's title; an unknown name stays as it is."""
    return describe(task).title


def pool_title(pool: Sequence[str]) -> str:
    """`("src", "rotation")` becomes "SRC + Rotation"."""
    return " + ".join(map(task_title, pool))


def stage_title(kind: str) -> str:
    """What readers call a kind of stages; an unknown one stays as it is."""
    return WORDS.get(f"stage.{kind}", kind)


def backbone_title(name: str) -> str:
    """A backbone's title; an unknown name stays as it is."""
    try:
        return backbone_entry(name).title
    except InputError:
        return name


def capitalised(words: str) -> str:
    """The first letter as a capital; the others stay as they are."""
    return words[:1].upper() + words[1:]
