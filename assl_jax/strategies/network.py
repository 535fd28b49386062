"""Which network: the tasks it is trained on, and whether for the first time."""

import dataclasses

from assl_jax.strategies.settings import SecondRun

Pool = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that a study can train.

    Attributes:
      pool: the proxy tasks, in any order; empty for a network without pretraining.
      again: None for the first training; otherwise a second one on the same tasks.
    """

    pool: Pool = ()
    again: SecondRun | None = None

    @property
    def first(self) -> "Network":
        """The first training on the same tasks."""
        return Network(self.pool)

    @property
    def variant(self) -> str:
        """ "scratch", "plain", "second_run" or "self_assl"."""
        if not self.pool:
            return "scratch"
        return self.again.variant if self.again else "plain"

    @property
    def label(self) -> str:
        """`rotation+src`, `rotation.self_assl`, `scratch`."""
        name = "+".join(sorted(self.pool)) or "scratch"
        return f"{name}.{self.variant}" if self.again else name

    @property
    def both(self) -> bool:
        """Whether first and second network are fine-tuned side by side."""
        return self.again is not None and self.again.use == "both"


SCRATCH = Network()
