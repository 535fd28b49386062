"""What a proxy task is."""

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from assl_jax.ops.intensity import Intensity

Metrics = dict[str, Array]


class Batch(NamedTuple):
    """Inputs for the backbone and what the head's outputs are held against.

    Attributes:
      inputs: `[b, v, *space, c]` float32 network inputs, `v` views (tiles, rotations, crops) of
        each image. The backbone sees them as one batch of `b*v`; the head gets features with the
        leading axes `[b, v]` again.
      targets: whatever the loss needs.
    """

    inputs: Float[Array, "b v *space c"]
    targets: PyTree[Array]


@runtime_checkable
class ProxyTask(Protocol):
    """A proxy task: a frozen dataclass of settings, static under jit.

    `make_batch` and `loss` are pure and run inside the compiled step; `head` gives the small
    network that is trained together with the backbone and thrown away afterwards. It is called as
    `head(features, batch)` with the backbone's feature mapping (see `assl_jax.models`).
    """

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def intensity(self) -> Intensity: ...

    def make_batch(self, rng: jax.Array, images: Any) -> Batch:
        """Stored integer images `[b, *space, c]` to a batch."""
        ...

    def head(self) -> nn.Module: ...

    def loss(self, outputs: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The mean loss of the batch, and scalars worth logging."""
        ...

    def __hash__(self) -> int: ...

    def label_table(self, rank: int) -> np.ndarray | None:
        """What the class labels stand for (routes, permutations), or None; saved beside every
        checkpoint, since labels mean nothing without it."""
        ...


def accuracy(logits: Float[Array, "*batch k"], labels: Int[Array, "*batch"]) -> Float[Array, ""]:
    """Share of examples whose largest logit is the label's."""
    return (logits.argmax(-1) == labels).mean()
