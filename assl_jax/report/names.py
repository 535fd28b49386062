"""Titles and colours of tasks, pools, networks and backbones; every part of a report uses these."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from assl_jax.errors import InputError
from assl_jax.models import backbone_entry
from assl_jax.report.colours import GREY
from assl_jax.strategies.network import TITLES, VARIANTS, ending
from assl_jax.tasks import TASKS, describe

SCRATCH = TITLES["scratch"]  # title of an empty pool
SCRATCH_LABEL = "scratch"
START = TITLES["start"]
START_LABEL = "start"  # also the variant of an empty pool that begins with the start weights
# What readers call the kinds of stages.
STAGES = {
    "pretrain": "pretraining",
    "start": "start weights",
    "teacher": "teacher",
    "finetune": "fine-tuning",
    "rate": "learning rate",
    "select": "cross-validation",
    "features": "features",
    "probe": "linear probe",
}

PALETTE = tuple(task.colour for task in TASKS.values())


class Label(NamedTuple):
    """A network's label in its parts.

    Attributes:
      backbone: name of the architecture; "" if the label has none.
      pool: the proxy tasks; empty from scratch, and for the start weights alone.
      variant: "plain", "start" for the start weights alone, or one of `VARIANTS`.
      seed: number of the pretraining; from 0.
      share: of the pretraining, below 1 at a rung of a search.
    """

    backbone: str
    pool: tuple[str, ...]
    variant: str = "plain"
    seed: int = 0
    share: float = 1.0

    @classmethod
    def parse(cls, label: str) -> "Label":
        """Split `"vgg16/src+rotation.self_assl.seed1"`."""
        if repeated := re.fullmatch(r"(.+)\.seed(\d+)", label):
            return cls.parse(repeated[1])._replace(seed=int(repeated[2]))
        if part := re.fullmatch(r"(.+)\.part(\d*\.?\d+(?:e-\d+)?)", label):
            return cls.parse(part[1])._replace(share=float(part[2]))
        backbone, _, rest = label.partition("/")
        named = re.fullmatch(r"\w+|[\w.]+:\w+", backbone)  # `module:Class` too
        if not named or not rest:  # the whole label is the pool
            backbone, rest = "", label
        pool, _, variant = rest.rpartition(".")
        if not pool or variant not in VARIANTS:
            pool, variant = rest, "plain"
        if rest in (SCRATCH_LABEL, START_LABEL):
            return cls(backbone, (), "start" if rest == START_LABEL else "plain")
        return cls(backbone, tuple(pool.split("+")), variant)

    @property
    def single(self) -> bool:
        """Whether it is the first training of one task."""
        return len(self.pool) == 1 and self.variant == "plain" and self.share == 1

    @property
    def title(self) -> str:
        """`"VGG-16: SRC + Rotation, Self-ASSL, pretraining 2"`."""
        start = f"{backbone_title(self.backbone)}: " if self.backbone else ""
        own = START if self.variant == START_LABEL else pool_title(self.pool)
        return start + own + ending(self.variant, self.share, self.seed)


def task_title(task: str) -> str:
    """A task's title; an unknown name stays as it is."""
    return describe(task).title


def short_title(task: str) -> str:
    """A task's short title, for a label inside a chart."""
    return describe(task).short


def pool_title(pool: Sequence[str]) -> str:
    """`("src", "rotation")` becomes "SRC + Rotation", an empty pool "From scratch"."""
    return " + ".join(map(task_title, pool)) or SCRATCH


def label_title(label: str) -> str:
    """The title of a network's label, see `Label`."""
    return Label.parse(label).title


def backbone_title(name: str) -> str:
    """A backbone's title; an unknown name stays as it is."""
    try:
        return backbone_entry(name).title
    except InputError:
        return name


def pool_colour(pool: Sequence[str]) -> str:
    """A pool has the colour of its last task, the same in every chart; grey from scratch."""
    return describe(pool[-1]).colour if pool else GREY


def capitalised(words: str) -> str:
    """The first letter as a capital; the others stay as they are."""
    return words[:1].upper() + words[1:]
