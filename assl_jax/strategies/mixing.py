"""How the networks of a pool are mixed: what a pool builds on, and what a step of it costs."""

import dataclasses
from collections.abc import Sequence

import jax

from assl_jax.objectives.alternating import Alternating
from assl_jax.objectives.base import Member, Objective
from assl_jax.objectives.distilled import Distilled
from assl_jax.objectives.joint import Joint
from assl_jax.objectives.penalised import Penalised
from assl_jax.records import Pool
from assl_jax.strategies.network import Network
from assl_jax.strategies.settings import PretrainSettings
from assl_jax.strategies.setup import Setup
from assl_jax.training.compute import step_flops


@dataclasses.dataclass(frozen=True)
class Mixing:
    """The way in which a study trains its pools, see `PretrainSettings.mixing`.

    Attributes:
      setup: objects and settings shared by all stages.
      settings: how long and how.
    """

    setup: Setup
    settings: PretrainSettings

    def is_mixed(self, network: Network, mixing: str) -> bool:
        """Whether this is a pool, trained with `mixing`."""
        return len(network.pool) > 1 and self.settings.mixing == mixing

    def ordered(self, network: Network) -> Pool:
        """The pool: its first task, then the others in alphabetical order.

        A teacher is never the first one: it has neither inputs nor a loss.
        """
        first = next(name for name in network.pool if name in self.setup.tasks)
        return (first, *sorted({*network.pool} - {first}))

    def parents(self, network: Network) -> list[Network]:
        """The networks that this one begins with, compares with or learns from."""
        if network.second:
            return [network.plain]
        if not self.is_mixed(network, "distil"):
            return []
        seeds = dict.fromkeys(self.setup.tasks, network.seed)  # a teacher has one network
        return [Network((name,), seed=seeds.get(name, 0)) for name in self.ordered(network)]

    def flops_of_a_step(self, network: Network) -> float:
        """Floating-point operations of a step; of an alternating pool, the mean over its tasks."""
        setup, size = self.setup, self.settings.training.batch_size
        images = setup.dataset.images
        batch = jax.ShapeDtypeStruct((size, *images.shape[1:]), images.dtype)
        return step_flops(setup.backbone, self.objective(network), batch)

    def objective(self, network: Network, widths: Sequence[int] = ()) -> Objective:
        """What the network is trained on.

        Args:
          network: with a pool.
          widths: numbers of features of the teachers of a distilled pool, 1 each by default.
        """
        # The first task of a joint pool is that of the network; elsewhere the order is irrelevant.
        joint, distil = (self.is_mixed(network, mixing) for mixing in ("joint", "distil"))
        ordered = self.ordered(network)
        if distil:
            settings = self.settings.distil
            goes_on = settings.start == "single"
            return Distilled(
                part=self.setup.tasks[ordered[0]],
                widths=tuple(widths) or (1,) * (len(ordered) - goes_on),
                weight=settings.weight,
                own=float(goes_on),
            )
        names = ordered if joint else sorted(ordered)
        members: list[Member] = [self.setup.tasks[name] for name in names]
        if network.second and network.second.penalty.weight:
            penalty = network.second.penalty
            members = [Penalised(part=member, penalty=penalty) for member in members]
        if len(members) == 1:
            return members[0]
        return Joint(tuple(members)) if joint else Alternating(tuple(members))
