"""What a proxy task is, and what classifying tasks share."""

import zlib
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from assl_jax import losses
from assl_jax.ops.intensity import Intensity
from assl_jax.ranges import check

Metrics = dict[str, Array]

SPARE_COLOURS = ("#332288", "#882255", "#44AA99", "#999933", "#6699CC")


class Batch(NamedTuple):
    """Inputs for the backbone and targets for the loss.

    Attributes:
      inputs: `[b, v, *space, c]` float32 network inputs, `v` views (tiles, rotations, crops) of
        each image. The backbone sees one batch of `b * v` views. The head receives features with
        the leading axes `[b, v]`.
      targets: arrays that the loss needs, each with the leading axis `b`.
    """

    inputs: Float[Array, "b v *space c"]
    targets: PyTree[Array]


class Average(NamedTuple):
    """The moving average of a network while a task trains it.

    Attributes:
      variables: of the backbone: `{"params": ..., "batch_stats": ...}`.
      head: parameters of the task's head.
    """

    variables: PyTree[Array]
    head: PyTree[Array]


@runtime_checkable
class ProxyTask(Protocol):
    """A proxy task: a frozen dataclass of settings, static under jit.

    `make_batch` and `loss` are pure functions inside the compiled step. `head` gives a small
    network. It is trained together with the backbone and dropped after pretraining. The step calls
    it as `head(features, batch)`, with the backbone's feature mapping (see `assl_jax.models`).

    Derive a task from this class to inherit the defaults of `short`, `colour` and `label_table`.

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

    name: ClassVar[str]
    title: ClassVar[str]
    short: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    colour: ClassVar[str] = ""
    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    __dataclass_fields__: ClassVar[dict[str, Any]]

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
        ...

    @abstractmethod
    def make_batch(self, rng: jax.Array, images: Any) -> Batch:
        """Turn stored integer images `[b, *space, c]` into a batch."""
        ...

    @abstractmethod
    def head(self) -> nn.Module:
        """The small network between the backbone's features and the loss."""
        ...

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The mean loss of the batch, and scalars for the log."""
        ...

    def __hash__(self) -> int:
        """A task must be hashable, as a static argument of jit; a frozen dataclass always is."""
        return hash(type(self))

    @property
    def momentum(self) -> float:
        """The share of itself that the `Average` of the network keeps in each step of the task.

        It is above 0 for a task that learns from this average, and 0 by default: there is none.
        """
        return 0.0

    def teach(
        self, batch: Batch, backbone: nn.Module, *, average: Average | None, frozen: Any
    ) -> Batch:
        """Add what other networks say about the inputs to the targets; by default nothing.

        Args:
          batch: of `make_batch`.
          backbone: the architecture that is trained.
          average: of this network, if `momentum` is above 0.
          frozen: the networks that the training was given, or None.
        """
        return batch

    def label_table(self, rank: int) -> np.ndarray | None:
        """The meaning of the class labels: one row per label (a route, a permutation), or None.

        It is stored with every checkpoint, because the labels have no meaning without it.

        Args:
          rank: number of spatial axes, 2 or 3.
        """
        return None


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
