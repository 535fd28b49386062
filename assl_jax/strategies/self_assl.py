"""Self-ASSL: the same tasks again, away from the first network (paper, section 4, Table 4)."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from assl_jax.evaluation.scores import paired_difference
from assl_jax.strategies.network import SCRATCH, Network, Pool
from assl_jax.strategies.settings import SecondRun
from assl_jax.strategies.share import share
from assl_jax.strategies.study import Study


def compare(
    studies: Sequence[Study], *, pools: Sequence[Pool], again: SecondRun, second_run: bool
) -> dict[str, Any]:
    """Every pool with and without Self-ASSL, on every backbone.

    Args:
      studies: one for each backbone.
      pools: what is trained.
      again: settings of Self-ASSL.
      second_run: also train every pool a second time without the penalty: what a plain second run
        with other random numbers gives.

    Returns:
      The entry `self_assl` of `results.json`. Nothing is selected.
    """
    for study in studies:
        firsts = [SCRATCH, *map(Network, pools)]
        seconds = [n for pool in pools for n in _networks(pool, again, second_run).values()]
        share(study, firsts)
        share(study, seconds)
    settings = {**dataclasses.asdict(again.penalty), "init_from": again.init_from, "use": again.use}
    return {
        "self_assl": {
            "settings": settings,
            "backbones": [
                {
                    "backbone": study.backbone_settings["name"],
                    "scratch": study.evaluate(SCRATCH),
                    "rows": [_row(study, pool, again, second_run) for pool in pools],
                }
                for study in studies
            ],
        }
    }


def _networks(pool: Pool, again: SecondRun, second_run: bool) -> dict[str, Network]:
    control = {"second_run": Network(pool, again.control())} if second_run else {}
    return {"plain": Network(pool), **control, "self_assl": Network(pool, again)}


def _row(study: Study, pool: Pool, again: SecondRun, second_run: bool) -> dict[str, Any]:
    networks = _networks(pool, again, second_run)
    entries = {name: study.evaluate(network) for name, network in networks.items()}
    matrix = study.similarities([*networks.values(), SCRATCH], place="held_out")
    names = list(networks)
    return {
        "pool": list(pool),
        **entries,
        "difference": difference(study, networks["plain"], networks["self_assl"]),
        "similarity": {n: round(float(matrix[0, i]), 6) for i, n in enumerate(names) if i},
        "untrained": {n: round(float(matrix[i, -1]), 6) for i, n in enumerate(names)},
        "effective_rank": {
            n: round(study.effective_rank(network), 3) for n, network in networks.items()
        },
    }


def difference(study: Study, before: Network, after: Network) -> dict[str, float]:
    """What `after` gains over `before` in test accuracy, paired by fine-tuning.

    Returns:
      "mean" and "std" over the fine-tunings; "low" and "high", see `paired_difference`.
    """
    rows = study.dataset.test
    labels, groups = study.dataset.labels[rows], study.dataset.groups[rows]
    right = [
        np.array([p.argmax(1) == labels for p in study.probabilities(network)])
        for network in (before, after)
    ]
    gained = right[1].astype(float) - right[0]
    each = gained.mean(1).tolist()
    low, high = paired_difference(gained.mean(0), whose)
    found = {
        "mean": statistics.fmean(each),
        "std": statistics.stdev(each) if len(each) > 1 else 0.0,
        "low": low,
        "high": high,
    }
    return {name: round(value, 6) for name, value in found.items()}
