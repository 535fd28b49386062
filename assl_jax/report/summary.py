"""The search in short: what each round showed, what was spent, and what to try next."""

from collections.abc import Iterator

from assl_jax.records import Network, Results, Round, Search
from assl_jax.report import forms
from assl_jax.report.names import Label, inside, task_title
from assl_jax.report.record import RunRecord
from assl_jax.report.trace import Trace
from assl_jax.sections import Listing, Part, Shown
from assl_jax.words import say

POSSIBLE = 0.05  # the least probability of being best that a sentence names
CLOSE = 0.25  # that with which more labels are worth trying


def parts(run: RunRecord) -> Iterator[Part]:
    """The sentences, below the headline that says what is kept and how sure that is."""
    yield Listing(tuple(summary(run.results)), shown=Shown.EVERYWHERE)


def summary(results: Results) -> list[str]:
    """A search with rounds in a few sentences; none for other runs. The last one is the regret."""
    best, search = results.best, results.search
    if best is None or search is None:
        return []
    trace = Trace(results)
    return [
        *_others(search),
        *(_showed(trace, number, found) for number, found in enumerate(search.rounds, 1)),
        _stopped(trace, search),
        _to_try(trace, search),
        *trace.regret(best.evaluation),
    ]


def _others(search: Search) -> list[str]:
    """Which other networks may be the best, the most probable one first."""
    words = [
        say("search.probable", network=inside(Label.of(n).title), percent=100 * probability)
        for n, probability in _rivals(search).items()
        if probability >= POSSIBLE
    ]
    return [say("search.others", networks="; ".join(words))] if words else []


def _rivals(search: Search) -> dict[Network, float]:
    """The probabilities of the networks that are not kept, the largest one first."""
    others = sorted(search.standings[1:], key=lambda standing: -standing.probability)
    return {each.network: each.probability for each in others}


def _showed(trace: Trace, number: int, found: Round) -> str:
    """What each task of a round added to continued training."""
    sentences = []
    for move in found.moves:
        if move.start != found.start or not move.task:
            continue
        added, error = move.added or 0.0, move.added_error or 0.0
        key = "added.nothing" if added <= 0 else "added" if added > error else "added.uncertain"
        words = {"task": task_title(move.task), "added": trace.difference(added, error)}
        sentences.append(trace.say(key, **words))
    if not sentences:
        on = next(move for move in found.moves if move.start == found.start)
        name, gain = inside(Label.of(found.start).title), trace.gain(on.gain, on.error)
        sentences.append(trace.say("alone", network=name, gain=gain))
    return trace.say("showed", number=number, findings=" ".join(sentences))


def _stopped(trace: Trace, search: Search) -> str:
    """Why no further round was begun, and what was spent."""
    spent, budget = (forms.amount(flops / 1e12) for flops in (search.spent, search.budget))
    why = trace.say(f"stopped.{search.stopped}", expected=_last(trace, search))
    return f"{why} {trace.say('spent', spent=spent, budget=budget)}"


def _to_try(trace: Trace, search: Search) -> str:
    """What may give a better network: by why the search stopped, and how close another one is."""
    reason = search.stopped if search.rounds or search.stopped == "tasks" else "round"
    advice = [trace.say(f"try.{reason}", expected=_last(trace, search))]
    if max(_rivals(search).values(), default=0.0) >= CLOSE:
        advice.append(trace.say("try.labels"))
    return trace.say("try", advice="; ".join(advice))


def _last(trace: Trace, search: Search) -> str:
    """How much better the last round is believed to have made the network; "" without rounds."""
    return trace.difference(search.rounds[-1].expected) if search.rounds else ""
