"""What a config can ask for: the plan of each experiment, and what it will do at most."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from assl_jax.config import RunConfig
from assl_jax.records import Network
from assl_jax.strategies import mtassl, self_assl
from assl_jax.strategies.candidates import begins_with
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.pairs import pairs
from assl_jax.strategies.pricing import Work, together
from assl_jax.strategies.stage import Plan
from assl_jax.strategies.study import Study

HALVED = "The better half of these tasks goes on after each rung. "
TWICE = "Then each of these networks is pretrained a second time and fine-tuned."


class Experiment(NamedTuple):
    """An experiment.

    Attributes:
      plan: asks for stages, and returns what it found.
      begins_with: the networks that are trained first.
      then: a sentence on what follows these networks.
      follows: what that is at most.
      parts: networks that are only pretrained, because others build on them.
      needs_labels: whether it compares networks by their accuracy.
    """

    plan: Callable[[RunConfig, Sequence[Evidence]], Plan]
    begins_with: Callable[[RunConfig, Study], list[Network]]
    then: str = ""
    follows: Callable[[RunConfig, Evidence], list[Work]] = lambda config, evidence: []
    parts: Callable[[RunConfig, Study], list[Network]] = lambda config, study: []
    needs_labels: bool = True


def _singles(config: RunConfig, study: Study) -> list[Network]:
    return [study.single(name) for name in study.members()]


def _pool(config: RunConfig, study: Study) -> list[Network]:
    return [study.pool(study.members())]


def _distilled(config: RunConfig, study: Study) -> list[Network]:
    (pool,) = _pool(config, study)
    return [network for network in pool.parents if network.trained]


def _every_pair(config: RunConfig, evidence: Evidence) -> list[Work]:
    every = map(evidence.study.pool, itertools.combinations(config.pool, 2))
    return together("every pair of these tasks", evidence, list(every))


def _compare(config: RunConfig, evidences: Sequence[Evidence]) -> Plan:
    second, control = config.self_assl.second, config.self_assl.second_run
    return self_assl.compare(evidences, pools=config.twice, second=second, control=control)


def _again(config: RunConfig, evidence: Evidence) -> list[Work]:
    """The second trainings of a comparison with Self-ASSL."""
    second, control = config.self_assl.second, config.self_assl.second_run
    rows = [self_assl.networks_of(evidence.study, pool, second, control) for pool in config.twice]
    again = [n for row in rows for name, n in row.items() if name != "plain"]
    return together("second trainings", evidence, again)


EXPERIMENTS = {
    # Algorithm 1, Tables 2 and 3
    "mtassl": Experiment(
        lambda config, evidences: mtassl.search(evidences[0], config.search),
        lambda config, study: begins_with(study, config.search),
        "Then the best network goes on in rounds, with other tasks and alone, while that helps.",
        lambda config, evidence: mtassl.at_most(evidence, config.search.in_force),
    ),
    # Table 1
    "pairs": Experiment(
        lambda config, evidences: pairs(evidences[0], tasks=config.pool),
        _singles,
        "Then every pair of these tasks is trained together.",
        _every_pair,
    ),
    # every task, or one pool, with and without Self-ASSL
    "table4": Experiment(_compare, _singles, TWICE, _again),
    "self_assl": Experiment(_compare, _pool, TWICE, _again),
    # one pool
    "pretrain": Experiment(
        lambda config, evidences: mtassl.single(evidences[0], *_pool(config, evidences[0].study)),
        _pool,
        parts=_distilled,
        needs_labels=False,
    ),
    # the start weights alone
    "finetune": Experiment(
        lambda config, evidences: mtassl.single(evidences[0], evidences[0].study.baselines[-1]),
        lambda config, study: [],
    ),
}
