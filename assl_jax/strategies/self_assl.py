"""Self-ASSL: a second training on the same tasks, with a penalty (paper, section 4, Table 4)."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from assl_jax.evaluation.uncertainty import estimate, paired_difference, student
from assl_jax.records import (
    Estimate,
    Findings,
    Pool,
    SelfASSL,
    SelfASSLGroup,
    SelfASSLRow,
)
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.settings import SecondRun
from assl_jax.strategies.study import Study


def compare(
    studies: Sequence[Study], *, pools: Sequence[Pool], second: SecondRun, control: bool
) -> Findings:
    """Every pool with and without Self-ASSL, on every backbone.

    Args:
      studies: one for each backbone.
      pools: what is trained.
      second: settings of Self-ASSL.
      control: also train every pool a second time without the penalty. This shows the effect of a
        plain second run with different random numbers.

    Returns:
      `self_assl`. Nothing is selected.
    """
    for study in studies:
        study.evaluate_all([*study.baselines, *map(Network, pools)])
        study.evaluate_all([n for p in pools for n in _networks(p, second, control).values()])
    settings = {
        **dataclasses.asdict(second.penalty),
        "init_from": second.init_from,
        "use": second.use,
    }
    groups = tuple(
        SelfASSLGroup(
            backbone=study.setup.backbone_settings["name"],
            scratch=study.evaluate(SCRATCH),
            start=study.evaluate_start(),
            rows=tuple(_row(study, pool, second, control) for pool in pools),
        )
        for study in studies
    )
    return Findings(self_assl=SelfASSL(settings=settings, backbones=groups))


def _networks(pool: Pool, second: SecondRun, control: bool) -> dict[str, Network]:
    """The networks of one row, by variant."""
    controls = {"second_run": Network(pool, second.control())} if control else {}
    return {"plain": Network(pool), **controls, "self_assl": Network(pool, second)}


def _row(study: Study, pool: Pool, second: SecondRun, control: bool) -> SelfASSLRow:
    networks = _networks(pool, second, control)
    evaluations = {name: study.evaluate(network) for name, network in networks.items()}
    matrix = study.comparing.similarities([*networks.values(), SCRATCH], subset="held_out")
    names = list(networks)
    return SelfASSLRow(
        pool=pool,
        **evaluations,
        difference=difference(study, networks["plain"], networks["self_assl"]),
        similarity={n: round(float(matrix[0, i]), 6) for i, n in enumerate(names) if i},
        untrained={n: round(float(matrix[i, -1]), 6) for i, n in enumerate(names)},
        effective_rank={
            n: round(study.comparing.effective_rank(network), 3) for n, network in networks.items()
        },
    )


def difference(study: Study, before: Network, after: Network) -> Estimate:
    """What `after` gains over `before` in test accuracy, paired by fine-tuning."""
    dataset = study.setup.dataset
    labels, groups = dataset.labels[dataset.test], dataset.groups[dataset.test]
    hits = [
        np.array([p.argmax(1) == labels for p in study.evaluating.probabilities(network)])
        for network in (before, after)
    ]
    gained = hits[1].astype(float) - hits[0]
    interval = paired_difference(gained.mean(0), groups)
    found = estimate(gained.mean(1).tolist(), interval, len(study.pretraining.repeats(after)))
    if not found.pretrainings:
        return found
    over = student(len(found.pretrainings)) * (found.error or 0.0)
    low, high = (math.hypot(found.mean - end, over) for end in interval)
    return found.replace(low=found.mean - low, high=found.mean + high)
