"""Joint training: every step trains all tasks of a pool, each on its share of the batch."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from assl_jax.models.heads import LARGEST_FACTOR
from assl_jax.ranges import OneOf, Positive, check
from assl_jax.tasks import ProxyTask
from assl_jax.training.optimiser import global_norm

BALANCE = ("gradient", "equal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointSettings:
    """How the tasks of a joint step are weighted.

    Attributes:
      balance: "gradient" brings the gradients of the backbone to one norm, their mean, before they
        are added: those of two tasks can differ by a factor of 300. "equal" adds them as they are.
      weight: of each task after the first one, which has weight 1.

    Raises:
      InputError: an unknown balance, or a weight that is not above 0.
    """

    balance: Annotated[str, OneOf(BALANCE)] = "gradient"
    weight: Positive = 1.0

    def __post_init__(self) -> None:
        check(self, "joint.")


@dataclasses.dataclass(frozen=True)
class Joint:
    """The tasks of a joint step.

    Attributes:
      tasks: at least one. Of a batch of b images, task k of n has the images k, k + n, ...
      settings: see `JointSettings`.
    """

    tasks: tuple[ProxyTask, ...]
    settings: JointSettings = JointSettings()
    name: ClassVar[str] = "joint"

    def share(self, images: Any, k: int) -> Any:
        """The images of task k; every array of `images` has the batch as its leading axis."""
        return jax.tree.map(lambda a: a[k :: len(self.tasks)], images)

    def size(self, batch_size: int, k: int) -> int:
        """Number of images of task k."""
        return len(range(k, batch_size, len(self.tasks)))

    def combine(self, gradients: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """The gradient of the pool: the weighted mean for the backbone, each head's own.

        Args:
          gradients: `{"backbone": ..., "heads": {task: ...}}` of each task, by name.
        """
        each = [g["backbone"] for g in gradients.values()]
        weights = [1.0, *[self.settings.weight] * (len(each) - 1)]
        scales: list[Any] = [weight / sum(weights) for weight in weights]
        if self.settings.balance == "gradient" and len(each) > 1:
            norms = jnp.stack([global_norm(g) for g in each])
            # A task without a gradient stays without one, and one with next to none too.
            factors = jnp.minimum(norms.mean() / jnp.where(norms > 0, norms, 1.0), LARGEST_FACTOR)
            scales = [scale * factors[k] for k, scale in enumerate(scales)]
        backbone = jax.tree.map(
            lambda *gs: sum(s * g for s, g in zip(scales, gs, strict=True)), *each
        )
        heads = {name: g["heads"][name] for name, g in gradients.items()}
        return {"backbone": backbone, "heads": heads}


def parts_of(task: ProxyTask | Joint) -> tuple[ProxyTask, ...]:
    """The tasks that a step trains: one, or those of a `Joint`."""
    return task.tasks if isinstance(task, Joint) else (task,)
