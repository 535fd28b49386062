"""What stages cost, counted before they are computed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from assl_jax.records import Network
from assl_jax.strategies import finetuning, pretraining
from assl_jax.strategies.evidence import ONE, Evidence
from assl_jax.strategies.stage import StageSpec, with_parents
from assl_jax.strategies.study import Study


class Work(NamedTuple):
    """Some stages of a plan.

    Attributes:
      title: what they are.
      steps: of training.
      flops: floating-point operations, see `training.compute`.
      finished: whether their results exist.
    """

    title: str
    steps: int
    flops: float
    finished: bool


def price(study: Study, spec: StageSpec) -> tuple[int, float]:
    """Steps and floating-point operations of a stage, its predictions included."""
    if spec.kind == "pretrain":
        return pretraining.steps_of(study, spec.network), pretraining.flops_of(study, spec.network)
    if spec.kind not in ("finetune", "rate", "select"):
        return 0, 0.0
    return finetuning.price(study, spec)


def work(evidence: Evidence, title: str, specs: Iterable[StageSpec]) -> list[Work]:
    """Some stages as one piece of work; none if they have no steps."""
    specs = list(specs)
    prices = [price(evidence.study, spec) for spec in specs]
    steps, flops = (sum(column) for column in zip(*prices, strict=True)) if prices else (0, 0.0)
    finished = all(evidence.stages.find(spec) for spec in specs)
    return [Work(title, steps, flops, finished)] if steps else []


def planned(
    evidence: Evidence, networks: Sequence[Network], parts: Sequence[Network] = ()
) -> list[Work]:
    """The work of a study that begins with `networks`, and with training from scratch.

    Each network is pretrained, unless its weights are given, and fine-tuned; at a rung only on the
    folds. `parts` are only pretrained, because others build on them.
    """
    found = []
    for network in (*evidence.study.baselines, *parts, *networks):
        stages, words = _stages_of(evidence, [network]), evidence.study.words(network)
        own = [s for s in stages if s.kind == "pretrain" and s.network.repeated(0) == network]
        found += work(evidence, f"pretrain {words}", own)
        if network not in parts:
            others = [s for s in stages if s.kind != "pretrain"]
            found += work(evidence, f"fine-tune {words}", others)
    return found


def together(title: str, evidence: Evidence, networks: Sequence[Network]) -> list[Work]:
    """Further networks as one piece of work, without what they build on."""
    own = {*networks}
    stages = [s for s in _stages_of(evidence, networks) if s.network.repeated(0) in own]
    return work(evidence, title, stages)


def _stages_of(
    evidence: Evidence, networks: Sequence[Network], divisions: Mapping[Network, int] = ONE
) -> list[StageSpec]:
    specs = [
        spec
        for network in networks
        for spec in evidence.specs(
            network, range(1, divisions.get(network, 1)), tested=network.share == 1
        )
    ]
    return with_parents(specs)


def cost(
    evidence: Evidence, networks: Sequence[Network], divisions: Mapping[Network, int] = ONE
) -> float:
    """Floating-point operations of all trainings of some networks, and of what they build on.

    Args:
      evidence: of their study.
      networks: some networks.
      divisions: on how many divisions into folds a network is cross-validated, if not on one.
    """
    stages = _stages_of(evidence, networks, divisions)
    return sum(price(evidence.study, spec)[1] for spec in stages)


def total(title: str, works: Sequence[Work]) -> Work:
    """Several pieces of work as one."""
    finished = all(w.finished for w in works)
    return Work(title, sum(w.steps for w in works), sum(w.flops for w in works), finished)
