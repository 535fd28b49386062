"""Describes a network: its proxy tasks, and whether this is its first or second training."""

import dataclasses

from assl_jax.records import Pool
from assl_jax.strategies.settings import SecondRun

# What readers call the variants without a pool, and those besides the first training of a pool.
TITLES = {"scratch": "From scratch", "start": "Start weights"}
VARIANTS = {
    "longer": "as long as the pool",
    "second_run": "second run",
    "self_assl": "Self-ASSL",
}


def ending(variant: str, share: float = 1.0, seed: int = 0) -> str:
    """What tells a network from the first whole training of its tasks: ", pretraining 2"."""
    words = (
        VARIANTS.get(variant, ""),
        f"{100 * share:g} % of its pretraining" if share < 1 else "",
        f"pretraining {seed + 1}" if seed else "",
    )
    return "".join(f", {word}" for word in words if word)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that a study can train.

    Attributes:
      pool: the proxy tasks and the teachers; empty for a network without pretraining. Distillation
        goes on from the network of the first task; the order of the others does not matter.
      second: settings of a second training on the same tasks; None for the first training.
      as_long_as: a larger pool. The network is trained with all the operations of that pool's
        network and of those that it builds on: the control that an aggregate must beat.
      start: without pretraining, the study's start weights and not random ones.
      share: of its pretraining that is done, above 0; below 1 at a rung of a search.
      seed: number of the pretraining, 0 to `pretrain.seeds` - 1; see `Pretraining.repeats`.
    """

    pool: Pool = ()
    second: SecondRun | None = None
    as_long_as: Pool = ()
    start: bool = False
    share: float = 1.0
    seed: int = 0

    @property
    def plain(self) -> "Network":
        """The first training on the same tasks: f_p of Self-ASSL."""
        return Network(self.pool, seed=self.seed)

    @property
    def variant(self) -> str:
        """One of "scratch", "start", "plain", "part", "longer", "second_run", "self_assl"."""
        if not self.pool:
            return "start" if self.start else "scratch"
        if self.as_long_as:
            return "longer"
        if self.second:
            return self.second.variant
        return "plain" if self.share == 1 else "part"

    @property
    def label(self) -> str:
        """`rotation+src`, `src.part0.25`, `rotation.longer.seed1`, `scratch`, `start`."""
        name = "+".join(sorted(self.pool)) or self.variant
        name = f"{name}.{self.variant}" if self.pool and self.variant != "plain" else name
        name = f"{name}{self.share:g}" if self.share < 1 else name
        return f"{name}.seed{self.seed}" if self.seed else name

    @property
    def words(self) -> str:
        """The label for people: `src, 25 % of its pretraining`, `start weights`."""
        name = "+".join(sorted(self.pool)) or ("start weights" if self.start else self.variant)
        return name + ending(self.variant, self.share, self.seed)

    @property
    def has_weights(self) -> bool:
        """Whether a stage holds its weights; a network from scratch draws new ones every time."""
        return bool(self.pool) or self.start

    @property
    def side_by_side(self) -> bool:
        """Whether f_p and f' are fine-tuned together."""
        return self.second is not None and self.second.use == "both"


SCRATCH = Network()
START = Network(start=True)
