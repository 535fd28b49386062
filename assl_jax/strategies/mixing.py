"""How the networks of a pool are mixed: what a pool builds on, and what a step of it costs."""

import dataclasses
from collections.abc import Sequence

from assl_jax.records import Pool
from assl_jax.strategies.network import Network
from assl_jax.strategies.settings import PretrainSettings
from assl_jax.strategies.setup import Setup
from assl_jax.tasks.distillation import Distillation
from assl_jax.training.compute import step_flops
from assl_jax.training.joint import Joint


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
        batch = (size, *images.shape[1:]), images.dtype
        if self.is_mixed(network, "distil"):
            goes_on = self.setup.distil.start == "single"
            teachers = len(network.pool) - goes_on
            task = self.distillation(network, [1] * teachers)
            return step_flops(setup.backbone, task, *batch, teachers)
        frozen = 1 if network.second and network.second.penalty.weight else 0
        tasks = [setup.tasks[name] for name in self.ordered(network)]
        if self.is_mixed(network, "joint"):
            pool = Joint(tuple(tasks))
            shares = [((pool.size(size, k), *batch[0][1:]), batch[1]) for k in range(len(tasks))]
            pairs = zip(tasks, shares, strict=True)
            return sum(step_flops(setup.backbone, task, *share, frozen) for task, share in pairs)
        each = [step_flops(setup.backbone, task, *batch, frozen) for task in tasks]
        return sum(each) / len(each)

    def distillation(self, network: Network, widths: Sequence[int]) -> Distillation:
        settings = self.setup.distil
        return Distillation(
            task=self.setup.tasks[self.ordered(network)[0]],
            widths=tuple(widths),
            weight=settings.weight,
            own=1.0 if settings.start == "single" else 0.0,
        )
