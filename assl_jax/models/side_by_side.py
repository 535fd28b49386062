"""Several networks of one architecture as one."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class SideBySide(nn.Module):
    """Copies of a backbone, each with its own weights, their features concatenated.

    The aggregated representation of Self-ASSL (paper, Figure 4): f_p and f' side by side.

    Attributes:
      backbone: the architecture.
      copies: how many.
    """

    backbone: nn.Module
    copies: int = 2

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """The mapping of a single backbone, every entry with `copies` times the channels."""
        each = [
            self.backbone.clone(name=f"copy{i}", parent=self)(x, train=train)
            for i in range(self.copies)
        ]
        return {name: jnp.concatenate([maps[name] for maps in each], -1) for name in each[0]}

    @staticmethod
    def gather(*each: dict[str, Any]) -> dict[str, Any]:
        """The copies' `{"params", "batch_stats"}` as those of the whole."""
        collections = ("params", "batch_stats")
        return {kind: {f"copy{i}": v[kind] for i, v in enumerate(each)} for kind in collections}
