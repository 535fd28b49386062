"""What a proxy task is, and what classifying tasks share."""

import zlib
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float, Int

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.objectives.base import Batch, Member, Metrics
from assl_jax.ops.intensity import Intensity
from assl_jax.ranges import check

__all__ = ["Batch", "Metrics", "ProxyTask", "accuracy", "classification_loss", "spare_colour"]

SPARE_COLOURS = ("#332288", "#882255", "#44AA99", "#999933", "#6699CC")


class ProxyTask(Member):
    """A proxy task: a frozen dataclass of settings, static under jit.

    A task has a field for each setting, and the methods `make_batch`, `head` and `loss` of
    `Member`. Derive it from this class to inherit the defaults of everything else.

    Attributes:
      name: the task's name in settings and files, a key of `TASKS`.
      title: its name in reports.
      short: its name in crowded charts; by default the title.
      summary: what the network sees and predicts, one or two sentences for the report; empty
        by default.
      colour: its colour in all charts, as "#rrggbb". The built-in tasks use Okabe and Ito's
        colour-blind-safe set, with a darker yellow for lines on white, and dark tones that
        differ from that set in every form of colour blindness. The default is one of
        `SPARE_COLOURS`, chosen by the name.
      ranks: numbers of spatial axes that it can work with; 2 and 3 by default.
    """

    title: ClassVar[str]
    short: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    colour: ClassVar[str] = ""
    ranks: ClassVar[tuple[int, ...]] = (2, 3)

    def __post_init__(self) -> None:
        """Check the fields against what they declare, see `assl_jax.ranges`.

        Raises:
          InputError: a value out of its range.
        """
        check(self, f"task.{self.name}.")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Fill in `short` and `colour` for a class that has a title and leaves them out."""
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "title" in own:
            cls.short = own.get("short", cls.title)
            cls.colour = own.get("colour", spare_colour(cls.name))

    @property
    def intensity(self) -> Intensity:
        """How stored integers become network inputs; a field of every task."""
        raise NotImplementedError

    def label_table(self, rank: int) -> np.ndarray | None:
        """The meaning of the class labels: one row per label (a route, a permutation), or None.

        It is stored with every checkpoint, because the labels have no meaning without it.

        Args:
          rank: number of spatial axes, one of `ranks`.
        """
        return None

    def check_rank(self, rank: int) -> None:
        """Raise `InputError` unless the task can work with images of `rank` spatial axes."""
        require(
            rank in self.ranks,
            f"task {self.name} needs images with {' or '.join(map(str, self.ranks))} spatial axes, "
            f"not {rank}; take it out of tasks",
        )


def spare_colour(name: str) -> str:
    """The colour of a name that declares none; always the same for the same name."""
    return SPARE_COLOURS[zlib.crc32(name.encode()) % len(SPARE_COLOURS)]


def classification_loss(
    logits: Float[Array, "n k"],
    labels: Int[Array, " n"],
    weights: Float[Array, " n"] | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """The mean cross-entropy, and the accuracy as a metric: the loss of a classifying task.

    Args:
      logits, labels: of each example.
      weights: factors of the examples' cross-entropies, at least 0 and with mean 1; None for ones.
    """
    each = losses.softmax_cross_entropy(logits, labels)
    loss = (each if weights is None else weights * each).mean()
    return loss, {"accuracy": accuracy(logits, labels)}


def accuracy(logits: Float[Array, "*batch k"], labels: Int[Array, "*batch"]) -> Float[Array, ""]:
    """Share of examples whose label has the largest logit."""
    return (logits.argmax(-1) == labels).mean()
