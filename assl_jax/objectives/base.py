"""What an objective is: what `training.loop.fit` takes, and what a step of it computes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
from jaxtyping import Array, Float, PyTree

Metrics = dict[str, Array]
Carry = Any  # a tree of arrays that a member hands from each of its steps to the next


class Batch(NamedTuple):
    """Inputs for the backbone and targets for the loss.

    Attributes:
      inputs: `[b, v, *space, c]` float32 network inputs, `v` views (tiles, rotations, crops) of
        each image. The backbone sees one batch of `b * v` views. The head receives features with
        the leading axes `[b, v]`.
      targets: arrays that the loss needs, each with the leading axis `b`.
      frozen: what frozen networks make of the inputs, by the name of the composition that asked
        for it; arrays with the leading axes `[b, v]`.
    """

    inputs: Float[Array, "b v *space c"]
    targets: PyTree[Array]
    frozen: Mapping[str, PyTree[Array]] = {}


class Weights(NamedTuple):
    """Those of a backbone and of a head.

    Attributes:
      variables: of the backbone: `{"params": ..., "batch_stats": ...}`.
      head: parameters of the head.
    """

    variables: PyTree[Array]
    head: PyTree[Array]


class Objective(ABC):
    """What a network is trained on; a frozen, hashable dataclass, static under jit.

    A step trains the backbone on one or several members.

    Attributes:
      name: in settings, records and states.
    """

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    @abstractmethod
    def members(self) -> "tuple[Member, ...]":
        """The members, each with a head, a carry and records of its own."""
        ...

    @property
    def turns(self) -> "tuple[Objective, ...]":
        """What the steps choose from; each trains all members of one of them.

        Each has its own moments of the backbone: the gradients of two tasks can differ in scale by
        a factor of 100, and shared moments then slow the weaker task down (AdaTask, Yang et al.
        2022, arXiv 2211.15055).
        """
        return (self,)

    def __hash__(self) -> int:
        """An objective must be hashable; a frozen dataclass always is."""
        return hash(type(self))


class Member(Objective):
    """An objective with one batch, one pass over the backbone and one head.

    `make_batch` and `loss` are pure functions inside the compiled step. `head` gives a small
    network, which is trained together with the backbone and dropped afterwards. The step calls it
    as `head(features, batch)`, with the backbone's feature mapping (see `assl_jax.models`).

    Attributes:
      passes: passes of other networks over the inputs in a step, without gradients.
    """

    @property
    def members(self) -> "tuple[Member, ...]":
        return (self,)

    @property
    def passes(self) -> int:
        return 0

    @abstractmethod
    def make_batch(self, rng: jax.Array, images: Any) -> Batch:
        """Turn examples, stored integer images `[b, *space, c]` first, into a batch."""
        ...

    @abstractmethod
    def head(self) -> nn.Module:
        """The small network between the backbone's features and the loss."""
        ...

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The mean loss of the batch, and scalars for the log."""
        ...

    def init(self, weights: Weights, maps: Any) -> Carry:
        """The carry before the first step; by default empty.

        Args:
          weights: of the network at the start; what is kept of them must be copied.
          maps: shapes of the backbone's mapping, with the leading axes `[b, v]`.
        """
        return ()

    def prepare(self, batch: Batch, backbone: nn.Module, carry: Carry, frozen: Any) -> Batch:
        """Add what other networks make of the inputs to a whole batch; by default nothing.

        Args:
          batch: of `make_batch`.
          backbone: the architecture that is trained.
          carry: of the step before.
          frozen: the networks that the training was given, by the name of the composition.
        """
        return batch

    def value(
        self, maps: Any, outputs: Any, batch: Batch, carry: Carry
    ) -> tuple[Float[Array, ""], Carry, Metrics]:
        """What the step descends, the new carry, and scalars for the log.

        Args:
          maps: the backbone's mapping, with one leading axis of `b * v` views.
          outputs: of the head.
          batch: a batch, or a micro-batch of it.
          carry: of the step or the micro-batch before.
        """
        loss, metrics = self.loss(outputs, batch)
        return loss, carry, metrics

    def after_step(self, carry: Carry, weights: Weights) -> Carry:
        """The carry after the optimiser has moved the weights."""
        return carry

    def adopt(self, head: Any, carry: Carry, old_head: Any, old_carry: Carry) -> tuple[Any, Carry]:
        """The head and the carry of a training that goes on from a finished one.

        Args:
          head, carry: of a fresh start.
          old_head, old_carry: of the finished training of `origin`.
        """
        return old_head, old_carry

    @property
    def origin(self) -> "Member":
        """The member from whose finished training this one can go on."""
        return self
