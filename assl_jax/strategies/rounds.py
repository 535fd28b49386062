"""The search with one budget: rounds in which another task must beat continued training."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from assl_jax.errors import require
from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Extension, Move, Network, Round, Search, Standing
from assl_jax.strategies.candidates import Candidates, candidates, extension
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.pricing import Work, cost, price
from assl_jax.strategies.selection import Posterior
from assl_jax.strategies.settings import SearchSettings, split_budget
from assl_jax.strategies.stage import with_parents

SURE = 0.9  # probability of being best from which on no division into folds is added
DIVISIONS = 3  # into folds, at most, of the two networks that lead
RIVAL = 0.25  # probability of being best from which a network goes on beside the best


class Step(NamedTuple):
    """A training of a round: the task that is added or "", what it goes on from, what it gives."""

    task: str
    start: Network
    network: Network


def grow(
    evidence: Evidence, settings: SearchSettings, networks: Sequence[Network]
) -> Generator[Any, None, Search]:
    """Go on from the best network while that is worth its compute.

    A round begins with the best network that has a task. It trains that network further in two
    ways of the same cost: extended by the task that is next, and with its own task alone. Both are
    compared with it on the same images. So each round tells what a task adds to more training.
    Networks that are nearly as probably the best go on as well, because one of them may gain more.
    The next round begins with the best network of all.

    Args:
      evidence, settings: of the search.
      networks: those that are trained already, and those without pretraining.
    """
    study, tried, rounds = evidence.study, list(networks), list[Round]()
    budget = budget_of(evidence, settings, tried)
    stopped, spent = "", cost(evidence, tried)
    while not stopped:
        found = evidence.posterior(tried)
        begun = [network for network in tried if network.trained]
        start = max(begun, key=lambda network: found.mean[tried.index(network)])
        names = [
            name
            for name in study.members()
            if study.single(name) in tried
            and name not in start.members
            and study.extended(start, name) not in tried
        ]
        rivals = [
            network
            for network in begun
            if found.probabilities[tried.index(network)] >= RIVAL
            and network != start
            and study.continued(network) not in tried
        ]
        further = [Step("", network, study.continued(network)) for network in (start, *rivals)]

        def moves(chosen: Sequence[str], start: Network = start) -> list[Step]:
            return [Step(name, start, study.extended(start, name)) for name in chosen]

        number = len(names) if settings.candidates == "all" else 1
        planned = {each.network for each in (*moves(names[:number]), *further)} - {*tried}
        last = _dearest_student(evidence, [*begun, *planned])
        more = cost(evidence, [*tried, *planned, *last]) - spent
        if rounds and rounds[-1].expected < settings.gain:
            stopped = "gain"
        elif not planned:
            stopped = "tasks"
        elif spent + more > budget:
            stopped = "budget"
        else:
            ranked = yield from candidates(evidence, settings, start, names)
            steps = [*moves(ranked.order[:number]), *further]
            yield from evidence.evaluated([step.network for step in steps])
            tried += [step.network for step in steps if step.network not in tried]
            spent = cost(evidence, tried)
            rounds.append(_round(evidence, start, steps, ranked, tried))
    student = _student(evidence, tried)
    if student:
        yield from evidence.evaluated([student])
        tried.append(student)
    divisions = yield from _look_again(evidence, tried, budget)
    found = evidence.posterior(tried, divisions)
    return Search(
        rounds=tuple(rounds),
        standings=_standings(evidence, found, tried, divisions),
        stopped=stopped,
        spent=cost(evidence, tried, divisions),
        budget=budget,
    )


def _round(
    evidence: Evidence,
    start: Network,
    moves: Sequence[Step],
    ranked: Candidates,
    tried: Sequence[Network],
) -> Round:
    """What the moves of a round brought."""
    study, found = evidence.study, evidence.posterior(tried)
    own = np.isin(np.arange(len(tried)), [tried.index(each.network) for each in moves])
    before, on = evidence.evaluate(start), study.continued(start)
    extended = {each.task: evidence.evaluate(each.network) for each in moves if each.task}

    def move(step: Step) -> Move:
        over_start = evidence.gain(start, step.network)
        added = evidence.gain(on, step.network) if step.task else None
        return Move(
            task=step.task,
            start=step.start,
            network=step.network,
            gain=over_start.mean,
            error=over_start.error,
            added=added and added.mean,
            added_error=added and added.error,
        )

    def candidate(name: str) -> Extension:
        single = evidence.evaluate(study.single(name))
        similar, adds = ranked.similar[name], ranked.complement[name]
        evaluation = extended.get(name)
        return extension(start.members, name, similar, before, single, evaluation, adds)

    return Round(
        start=start,
        candidates=tuple(map(candidate, ranked.order)),
        moves=tuple(map(move, moves)),
        criterion=ranked.criterion,
        expected=found.gain(own, over=tried.index(start)),
    )


def _student(evidence: Evidence, tried: Sequence[Network]) -> Network | None:
    """The student of the networks that are most probably the best; None if none is asked for."""
    study, settings = evidence.study, evidence.study.student
    able = [i for i, network in enumerate(tried) if network.has_weights]
    if not study.student_steps or not able:
        return None
    found = evidence.posterior(tried)
    order = sorted(able, key=lambda i: -found.mean[i])[: settings.networks]
    probable = [i for i in order[1:] if found.probabilities[i] >= settings.least]
    return study.taught_by([tried[i] for i in (order[0], *probable)])


def _dearest_student(evidence: Evidence, networks: Sequence[Network]) -> list[Network]:
    """A student of as many networks as may teach one; none if none is asked for."""
    study, settings = evidence.study, evidence.study.student
    return [study.taught_by(networks[: settings.networks])] if study.student_steps else []


def _look_again(
    evidence: Evidence, networks: Sequence[Network], budget: float
) -> Generator[Any, None, dict[Network, int]]:
    """Cross-validate the two networks that lead on further divisions, while it is open.

    A division of both must cost less than one task's network, and be paid for by what is left.

    Returns:
      The number of divisions of each network that has more than one.
    """
    singles = [network for network in networks if network.generation == 1]
    divisions: dict[Network, int] = {}
    spent, unit = cost(evidence, networks), cost(evidence, singles) / max(1, len(singles))
    while evidence.on_folds:
        found = evidence.posterior(networks, divisions)
        if len(networks) == 1 or found.probabilities[found.best] >= SURE:
            break
        leaders = [networks[i] for i in np.argsort(-found.mean, kind="stable")[:2]]
        fewest = min(leaders, key=lambda network: divisions.get(network, 1))
        number = divisions.get(fewest, 1)
        if number >= DIVISIONS:
            break
        behind = [each for each in leaders if divisions.get(each, 1) == number]
        further = divisions | dict.fromkeys(behind, number + 1)
        more = cost(evidence, networks, further) - spent
        if more > min(unit, budget - spent):
            break
        yield from evidence.evaluated(behind, [number])
        divisions, spent = further, spent + more
    return divisions


def _standings(
    evidence: Evidence,
    found: Posterior,
    networks: Sequence[Network],
    divisions: dict[Network, int],
) -> tuple[Standing, ...]:
    sign = 1 if METRICS[evidence.study.metric].higher_is_better else -1
    probabilities = found.probabilities
    return tuple(
        Standing(
            network=networks[i],
            evaluation=evidence.evaluate(networks[i]),
            estimate=sign * float(found.mean[i]),
            error=float(found.error[i]),
            probability=round(float(probabilities[i]), 4),
            divisions=divisions.get(networks[i], 1),
        )
        for i in np.argsort(-found.mean, kind="stable")
    )


def budget_of(evidence: Evidence, settings: SearchSettings, begun: Sequence[Network]) -> float:
    """What all trainings of a search may cost.

    By default, twice the networks that it begins with, and a student if it ends with one.

    Raises:
      InputError: a budget that does not pay for the networks that it begins with, and the student.
    """
    singles = [network for network in begun if network.trained]
    student = _dearest_student(evidence, singles)
    first, least = cost(evidence, begun), cost(evidence, [*begun, *student])
    if not settings.budget:
        return first + least
    amounts, single = split_budget(settings.budget), cost(evidence, singles) / len(singles)
    allowed = amounts["TFLOP"] * 1e12 if "TFLOP" in amounts else amounts["singles"] * single
    enough = [f"{least / 1e12:.3g} TFLOP", f"{np.ceil(least / single):.0f} singles"]
    if "min" in amounts:
        enough.append(f"{np.ceil(least / allowed * amounts['min']):.0f} min")
    require(
        allowed >= least,
        f"search.budget={settings.budget} does not pay for the {len(singles)} tasks and what is "
        f"always trained beside them ({', '.join(enough)}); raise it, or name fewer tasks",
    )
    return allowed


def at_most(evidence: Evidence, settings: SearchSettings, begun: Sequence[Network]) -> list[Work]:
    """What rounds cost at most after the networks that a search begins with."""
    left = budget_of(evidence, settings, begun) - cost(evidence, begun)
    single = next(network for network in begun if network.trained)
    steps, flops = map(sum, zip(*_prices(evidence, single), strict=True))
    return [Work("rounds", round(left / flops * steps), left, finished=False)]


def _prices(evidence: Evidence, network: Network) -> list[tuple[int, float]]:
    return [price(evidence.study, spec) for spec in with_parents(evidence.specs(network))]
