"""What a run says of its work: the plan before it begins, and how much is left while it runs."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence

from assl_jax import console
from assl_jax.config import RunConfig
from assl_jax.report.before import plan_lines
from assl_jax.strategies.network import Network
from assl_jax.strategies.outlook import Outlook, of_search, together
from assl_jax.strategies.plan import Work, pace, planned
from assl_jax.strategies.study import Study


def _pairs(config: RunConfig, study: Study) -> list[Work]:
    every = map(Network, itertools.combinations(config.pool, 2))
    return together("every pair of these tasks", study, list(every))


def _second(config: RunConfig, study: Study) -> list[Work]:
    second = config.self_assl.second
    kinds = [second, *([second.control()] if config.self_assl.second_run else [])]
    again = [Network(pool, kind) for pool in config.twice for kind in kinds]
    return together("second trainings", study, again)


# What comes after the networks that an experiment begins with, at most.
FOLLOWS: dict[str, Callable[[RunConfig, Study], list[Work]]] = {
    "mtassl": lambda config, study: of_search(
        study, config.pool, tuple(config.teachers), config.search
    ),
    "pairs": _pairs,
    "table4": _second,
    "self_assl": _second,
}


def say_plan(
    config: RunConfig,
    studies: Sequence[Study],
    networks: Sequence[Network],
    parts: Sequence[Network],
    then: str,
) -> Outlook | None:
    """Say what is to be done and how long it takes, unless all of the beginning is finished.

    Args:
      config: of the run.
      studies: one for each backbone.
      networks, parts: that each of them begins with, see `planned`.
      then: a sentence on what follows them.
    """
    works = [work for study in studies for work in planned(study, networks, parts)]
    if all(work.finished for work in works):
        return None
    follow = FOLLOWS.get(config.experiment)
    follows = [work for study in studies for work in (follow(config, study) if follow else [])]
    speed = pace(studies[0])
    console.say_lines(plan_lines(works, speed, then, follows))
    return Outlook(studies[0], works, follows, speed)


@contextlib.contextmanager
def showing(outlook: Outlook | None, studies: Sequence[Study]) -> Iterator[None]:
    """Inside, `console.Progress` shows how much of the whole run is left."""
    stages = studies[0].setup.stages  # which all studies share
    try:
        if outlook:
            outlook.tell()
            stages.told = outlook.finished
        yield
    finally:
        stages.told = None
        console.expect_nothing()
