"""What a report is made from, and the names and colours that its parts share."""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

NAMES = {
    "src": "SRC",
    "mcpc": "MCPC",
    "sc_assl": "SC-ASSL",
    "rotation": "Rotation",
    "jigsaw": "Jigsaw",
    "inpaint": "Inpaint",
    "simclr": "SimCLR",
    "cpc": "CPC",
    "models_genesis": "Models Genesis",
    "rubiks_cube": "Rubik's cube",
    "scratch": "From scratch",
}
FAMILIES = {"resnet": "ResNet", "vgg": "VGG"}
VARIANTS = {"second_run": "second run", "self_assl": "Self-ASSL"}

# Okabe and Ito's colour-blind-safe set, its yellow darkened for lines on white, and three dark
# tones that stay apart from these, also without red, green or blue receptors.
INK = "#222222"
GREY = "#767676"
COLOURS = {
    "src": "#0072B2",
    "mcpc": "#56B4E9",
    "sc_assl": "#009E73",
    "rotation": "#D55E00",
    "jigsaw": "#A08000",
    "inpaint": "#CC79A7",
    "simclr": "#E69F00",
    "cpc": "#601070",
    "models_genesis": "#993300",
    "rubiks_cube": "#2200CC",
    "scratch": GREY,
}
OTHER_COLOURS = ("#332288", "#882255", "#44AA99", "#999933", "#6699CC")


class TaskExamples(NamedTuple):
    """What one proxy task shows the network.

    Attributes:
      originals: `[r, *space, c]` images in [0, 1]; c is 1 or 3.
      inputs: `[r, v, *space, c]` the v views of each image, in [0, 1].
      captions: one line per image.
    """

    originals: np.ndarray
    inputs: np.ndarray
    captions: list[str]


@dataclass(frozen=True)
class RunRecord:
    """Everything a report shows, as read back from a run's folder.

    Attributes:
      results: the run's results; accuracies are fractions of 1.
      config: the run's settings, nested.
      environment: versions, devices, commit and command; flat.
      metrics: one mapping per logged step.
      stages: one mapping per finished stage, in the order they ran, see `Stage.record`.
      examples: by proxy task.
      attention: where the network looks (`assl_jax.evaluation.gradcam.Attention`), or None.
    """

    results: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    examples: dict[str, TaskExamples] = field(default_factory=dict)
    attention: Any = None


def parted(label: str) -> tuple[str, str, str]:
    """`"vgg16/rotation.self_assl"` to its backbone, pool and variant, each "" where not said."""
    backbone, _, rest = label.partition("/")
    backbone, rest = (backbone, rest) if display_backbone(backbone) != backbone else ("", label)
    pool, dot, variant = rest.rpartition(".")
    return (backbone, pool, variant) if dot and variant in VARIANTS else (backbone, rest, "")


def display(task: str) -> str:
    """A task's name for readers; a name without an entry stays as it is."""
    return NAMES.get(task, task)


def display_backbone(backbone: str) -> str:
    """`"resnet18"` to "ResNet-18"; a name of another form stays as it is."""
    family = backbone.rstrip("0123456789")
    depth = backbone.removeprefix(family)
    return f"{FAMILIES[family]}-{depth}" if family in FAMILIES and depth else backbone


def capital(words: str) -> str:
    """The first letter as a capital, the others as they are."""
    return words[:1].upper() + words[1:]


def display_pool(pool: Iterable[str]) -> str:
    """`["simclr", "rotation"]` to "SimCLR + Rotation"."""
    return " + ".join(display(task) for task in pool)


def display_label(label: str) -> str:
    """A stage's label for readers.

    `"simclr+rotation"` is "SimCLR + Rotation", `"vgg16/rotation.self_assl"` "VGG-16: Rotation,
    Self-ASSL".
    """
    backbone, pool, variant = parted(label)
    start = f"{display_backbone(backbone)}: " if backbone else ""
    return start + display_pool(pool.split("+")) + (f", {VARIANTS[variant]}" if variant else "")


def colour(label: str) -> str:
    """The one colour of a task in every figure; a pool has that of the task it added last."""
    task = parted(label)[1].split("+")[-1]
    other = OTHER_COLOURS[zlib.crc32(task.encode()) % len(OTHER_COLOURS)]
    return COLOURS.get(task, other)


def by_similarity(candidate: Mapping[str, Any]) -> float:
    """The order of candidates in tables and figures: least similar first, unmeasured last."""
    similarity = candidate.get("similarity")
    return math.inf if similarity is None else similarity


def latest(metrics: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records that count, by step: a resumed stage repeats steps, and its last word holds.

    Tasks of one pool, and runs (seeds, folds) of one fine-tuning, each have their own.
    """
    last = {(r["stage"], r.get("run"), r.get("task"), r["step"]): r for r in metrics}
    return sorted(last.values(), key=lambda r: r["step"])
