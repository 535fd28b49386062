"""Several networks of one architecture as one."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.base import adapted


class SideBySide(nn.Module):
    """Copies of a backbone, each with its own weights; their features are concatenated.

    The aggregated representation of Self-ASSL (paper, Figure 4): f_p and f' side by side.

    Attributes:
      backbone: the architecture.
      copies: how many.
      bn_momentum, activation: of all copies; None leaves those of `backbone`.
    """

    backbone: nn.Module
    copies: int = 2
    bn_momentum: float | None = None
    activation: Callable[[Array], Array] | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """The mapping of a single backbone; every entry has `copies` times the channels."""
        own = {"bn_momentum": self.bn_momentum, "activation": self.activation}
        given = {name: value for name, value in own.items() if value is not None}
        backbone = adapted(self.backbone, **given)
        each = [
            backbone.clone(name=f"copy{i}", parent=self)(x, train=train) for i in range(self.copies)
        ]
        return {name: jnp.concatenate([maps[name] for maps in each], -1) for name in each[0]}

    @staticmethod
    def gather(*each: dict[str, Any]) -> dict[str, Any]:
        """Join the `{"params", "batch_stats"}` of single networks into those of the whole."""
        return {
            kind: {f"copy{i}": v[kind] for i, v in enumerate(each)} if of_first else {}
            for kind, of_first in each[0].items()
        }
