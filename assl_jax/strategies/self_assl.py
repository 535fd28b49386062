"""Self-ASSL: a second training on the same tasks, with a penalty (paper, section 4, Table 4)."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from assl_jax.evaluation.uncertainty import estimate, paired_difference, student
from assl_jax.records import (
    SCRATCH,
    Estimate,
    Findings,
    Network,
    Pool,
    SelfASSL,
    SelfASSLGroup,
    SelfASSLRow,
)
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.settings import SecondRun
from assl_jax.strategies.stage import Plan
from assl_jax.strategies.study import Study


def compare(
    evidences: Sequence[Evidence], *, pools: Sequence[Pool], second: SecondRun, control: bool
) -> Plan:
    """Every pool with and without Self-ASSL, on every backbone.

    Args:
      evidences: one for each backbone.
      pools: what is trained.
      second: settings of Self-ASSL.
      control: also train every pool a second time without the penalty. This shows the effect of a
        plain second run with different random numbers.

    Returns:
      `self_assl`. Nothing is selected.
    """
    for evidence in evidences:
        study = evidence.study
        rows = [networks_of(study, pool, second, control) for pool in pools]
        networks = [n for row in rows for n in row.values()]
        yield from evidence.evaluated([*study.baselines, *(row["plain"] for row in rows)])
        yield from evidence.evaluated(networks)
        yield from evidence.compared([*networks, SCRATCH], "held_out")
    settings = {
        **dataclasses.asdict(second.penalty),
        "init_from": second.init_from,
        "use": second.use,
    }
    groups = tuple(
        SelfASSLGroup(
            backbone=evidence.study.name,
            scratch=evidence.evaluate(SCRATCH),
            start=evidence.start(),
            rows=tuple(_row(evidence, pool, second, control) for pool in pools),
        )
        for evidence in evidences
    )
    return Findings(self_assl=SelfASSL(settings=settings, backbones=groups))


def networks_of(study: Study, pool: Pool, second: SecondRun, control: bool) -> dict[str, Network]:
    """The networks of one row, by variant."""
    plain = study.pool(pool)
    start = plain if second.init_from == "f_p" else study.initial
    again = Network(tasks=plain.tasks, objective="second_run", start=start, teachers=(plain,))
    found = {"plain": plain} | ({"second_run": again} if control else {})
    if second.penalty.weight:
        again = again.replace(objective="self_assl")
    both = Network(objective="side_by_side", teachers=(plain, again))
    return found | {"self_assl": both if second.use == "both" else again}


def _row(evidence: Evidence, pool: Pool, second: SecondRun, control: bool) -> SelfASSLRow:
    networks = networks_of(evidence.study, pool, second, control)
    evaluations = {name: evidence.evaluate(network) for name, network in networks.items()}
    matrix = evidence.similarities([*networks.values(), SCRATCH], "held_out")
    names = list(networks)
    return SelfASSLRow(
        pool=pool,
        **evaluations,
        difference=difference(evidence, networks["plain"], networks["self_assl"]),
        similarity={n: round(float(matrix[0, i]), 6) for i, n in enumerate(names) if i},
        untrained={n: round(float(matrix[i, -1]), 6) for i, n in enumerate(names)},
        effective_rank={
            n: round(evidence.effective_rank(network), 3) for n, network in networks.items()
        },
    )


def difference(evidence: Evidence, before: Network, after: Network) -> Estimate:
    """What `after` gains over `before` in test accuracy, paired by fine-tuning."""
    dataset = evidence.study.dataset
    labels, groups = dataset.labels[dataset.test], dataset.groups[dataset.test]
    hits = [
        np.array([p.argmax(1) == labels for p in evidence.probabilities(network)])
        for network in (before, after)
    ]
    gained = hits[1].astype(float) - hits[0]
    interval = paired_difference(gained.mean(0), groups)
    found = estimate(gained.mean(1).tolist(), interval, len(evidence.study.repeats(after)))
    if not found.pretrainings:
        return found
    over = student(len(found.pretrainings)) * (found.error or 0.0)
    low, high = (math.hypot(found.mean - end, over) for end in interval)
    return found.replace(low=found.mean - low, high=found.mean + high)
