"""Titles, colours and keys of tasks, pools, networks and backbones, for every part of a report."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from assl_jax.errors import InputError
from assl_jax.models import backbone_entry
from assl_jax.records import Best, Finalist, NetworkRecord, Pool
from assl_jax.report.colours import GREY
from assl_jax.report.words import WORDS, say
from assl_jax.tasks import TASKS, describe

PALETTE = tuple(task.colour for task in TASKS.values())
ORDER = ("scratch", "start", "plain", "longer", "second_run", "self_assl")  # of variants


class Label(NamedTuple):
    """What tells a network from others, for readers; by default the one from scratch.

    Attributes:
      pool: the proxy tasks; empty from scratch, and for the start weights alone.
      variant: one of `ORDER`.
      backbone: name of the architecture; "" if the run has one.
      seed: number of the pretraining; from 0.
      share: of the pretraining, below 1 at a rung of a search.
    """

    pool: Pool = ()
    variant: str = "scratch"
    backbone: str = ""
    seed: int = 0
    share: float = 1.0

    @classmethod
    def of(cls, network: NetworkRecord | Finalist | Best) -> "Label":
        """The label of a network in a record."""
        return cls(network.pool, network.variant)

    @classmethod
    def trained(cls, *pool: str) -> "Label":
        """The label of the first training of some tasks."""
        return cls(pool, "plain")

    @classmethod
    def parse(cls, label: str) -> "Label":
        """Split the label of a stage, as in `"vgg16/src+rotation.self_assl.seed1"`."""
        if repeated := re.fullmatch(r"(.+)\.seed(\d+)", label):
            return cls.parse(repeated[1])._replace(seed=int(repeated[2]))
        if part := re.fullmatch(r"(.+)\.part(\d*\.?\d+(?:e-\d+)?)", label):
            return cls.parse(part[1])._replace(share=float(part[2]))
        backbone, _, rest = label.partition("/")
        if not backbone.isidentifier() or not rest:  # the whole label is the pool
            backbone, rest = "", label
        if rest in ORDER[:2]:
            return cls((), rest, backbone)
        pool, _, variant = rest.rpartition(".")
        if not pool or variant not in ORDER[3:]:
            pool, variant = rest, "plain"
        return cls(tuple(pool.split("+")), variant, backbone)

    @property
    def single(self) -> bool:
        """Whether it is the first training of one task."""
        return len(self.pool) == 1 and self.variant == "plain" and self.share == 1

    @property
    def title(self) -> str:
        """`"VGG-16: SRC + Rotation, Self-ASSL, pretraining 2"`."""
        words = [pool_title(self.pool) if self.pool else say(f"network.{self.variant}")]
        words += [say(f"network.{self.variant}")] if self.variant in ORDER[3:] else []
        words += [say("network.share", percent=100 * self.share)] if self.share < 1 else []
        words += [say("network.seed", number=self.seed + 1)] if self.seed else []
        start = f"{backbone_title(self.backbone)}: " if self.backbone else ""
        return start + ", ".join(words)

    @property
    def colour(self) -> str:
        """That of the last task, the same in every chart; grey from scratch."""
        return describe(self.pool[-1]).colour if self.pool else GREY

    @property
    def key(self) -> tuple[frozenset[str], str]:
        """What is equal for one pretraining of two runs: the tasks in any order, the variant."""
        return frozenset(self.pool), self.variant


SCRATCH, START = Label(), Label((), "start")


def task_title(task: str) -> str:
    """A task's title; an unknown name stays as it is."""
    return describe(task).title


def short_title(task: str) -> str:
    """A task's short title, for a label inside a chart."""
    return describe(task).short


def task_colour(task: str) -> str:
    """A task's colour, the same in every chart."""
    return describe(task).colour


def pool_title(pool: Sequence[str]) -> str:
    """`("src", "rotation")` becomes "SRC + Rotation"."""
    return " + ".join(map(task_title, pool))


def label_title(label: str) -> str:
    """The title of a stage's label, see `Label.parse`."""
    return Label.parse(label).title


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
