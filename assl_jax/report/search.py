"""The search: the layout of the paper's Tables 2 and 3, and its decisions as sentences."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Evaluation, Extension, Iteration, LastWord, Results, Rung
from assl_jax.report import forms
from assl_jax.report.columns import Column, tabulate
from assl_jax.report.evaluations import (
    NO_GAIN,
    decided_on,
    deciding_metric,
    every_network,
    score,
    test_set,
    title_of,
    tried,
)
from assl_jax.report.names import Label, capitalised, pool_title, task_title
from assl_jax.report.outcome import with_unit
from assl_jax.report.pairs import by_similarity, extension_columns
from assl_jax.report.record import RunRecord
from assl_jax.sections import Listing, Part, Shown, Table, Text
from assl_jax.words import WORDS, say


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The table of the candidates, and the decisions one after the other."""
    if table := search_table(run.results):
        yield table
        yield Text((say("pairs.key"),), soft=True)
    yield Listing(tuple(search_trace(run.results)), ordered=True, shown=Shown.EVERYWHERE)


class Candidate(NamedTuple):
    """A row of the search: a single task of the first iteration, or an extension of the pool."""

    iteration: int
    a1: str
    a2: str
    evaluation: Evaluation | None
    verdict: str
    extension: Extension | None = None


def search_table(results: Results) -> Table | None:
    """The search in the layout of the paper's Table 2; None if nothing was searched.

    Candidates are in the order of their similarity to the pool. One that was not trained has
    dashes. The value used for selection has a separate column, unless it is the test accuracy.
    """
    if not results.iterations:
        return None
    metric, decided = deciding_metric(results), METRICS[results.metric]
    accuracy = Column(
        say("search.head.accuracy"),
        value=lambda row: row.evaluation.accuracy.mean if row.evaluation else None,
    )
    columns = [
        Column(say("search.head.iteration"), lambda row: str(row.iteration), once=True),
        Column(say("head.a1"), lambda row: row.a1),
        Column(say("head.a2"), lambda row: row.a2),
        *extension_columns(tried(results), accuracy),
    ]
    if results.select_on == "cv" or metric:
        columns.append(
            Column(
                f"{capitalised(metric or say('selection'))} ({say(f'short.{results.select_on}')})",
                value=lambda row: decided_on(results, row.evaluation),
                form=forms.of(decided.share),
                higher_is_better=decided.higher_is_better,
            )
        )
    columns.append(Column(say("search.head.decision"), lambda row: say(f"verdict.{row.verdict}")))
    caption = "search.caption.decided" if metric else "search.caption"
    return tabulate(
        say(caption, test_set=test_set(results), metric=metric),
        columns,
        [_singles(results), *(_candidates(*step) for step in enumerate(results.iterations, 2))],
        names=3,
        verdict=lambda row: row.verdict,
    )


def _singles(results: Results) -> list[Candidate]:
    start = results.iterations[0].pool
    return [
        Candidate(1, task_title(task), forms.DASH, single, "start" if (task,) == start else "")
        for task, single in results.singles.items()
    ]


def _candidates(iteration: int, step: Iteration) -> list[Candidate]:
    pool, verdict = pool_title(step.pool), "accepted" if step.accepted else "stopped"
    rows = [
        Candidate(
            iteration,
            pool,
            task_title(each.task),
            each.evaluation,
            verdict if each.task == step.chosen else "",
            each,
        )
        for each in sorted(step.candidates, key=by_similarity)
    ]
    return [rows[0], *(row._replace(a1="") for row in rows[1:])]


def search_trace(results: Results) -> list[str]:
    """The search, one sentence per step: the least similar task, its result and the decision.

    The numbers are those that the decision was made on. The last sentence is the regret.
    """
    best, word = results.best, results.last_word
    if best is None or not (results.iterations or results.rungs or word):
        return []
    trace = _Trace(results)
    begun = results.iterations[0].pool if results.iterations else best.network.members[:1]
    if word and not begun:
        begun = next(each.network.members for each in word.finalists if each.network.members)
    incumbent = results.singles.get(begun[0])
    lines = [*map(trace.rung, results.rungs), trace.start(begun[0], incumbent)]
    if others := [name for name in results.left_out if name not in begun]:
        base = say("base.start" if results.start else "base.scratch")
        lines.append(trace.say("left_out", base=base, tasks=", ".join(map(task_title, others))))
    for step in results.iterations:
        chosen = next(each for each in step.candidates if each.task == step.chosen)
        lines.append(f"{_next(step, chosen)} {trace.verdict(step, chosen, incumbent)}")
        incumbent = chosen.evaluation if step.accepted else incumbent
    if not results.iterations or results.iterations[-1].accepted:
        lines.append(trace.say("nothing_left"))
    if control := results.control:
        task = pool_title(control.network.members)
        pool = Label.of(control.as_long_as).title
        value = trace.value(control.evaluation)
        lines.append(trace.say("control", task=task, pool=pool, value=value))
    lines += [trace.last_word(word)] if word else []
    return [*lines, *trace.regret(best.evaluation)]


def _next(step: Iteration, chosen: Extension) -> str:
    """Why a task was the next one."""
    known = f"search.next.{step.criterion}" in WORDS
    return say(
        f"search.next.{step.criterion if known else 'unknown'}",
        task=task_title(chosen.task),
        pool=pool_title(step.pool),
        similarity=forms.similar(chosen.similarity),
        complement=forms.plain(chosen.complement),
    )


class _Trace:
    """The sentences of a search, in the metric that it decides on."""

    def __init__(self, results: Results) -> None:
        self.results, self.metric = results, METRICS[results.metric]
        self.title = deciding_metric(results) or say("accuracy")
        self.where = say(f"where.{results.select_on}")
        self.unit = say("unit.percent", metric=self.title) if self.metric.share else self.title

    def say(self, key: str, **values: object) -> str:
        return say(f"search.{key}", **{"unit": self.unit, "where": self.where} | values)

    def value(self, evaluation: Evaluation | None) -> str:
        value = decided_on(self.results, evaluation)
        if self.metric.share:
            return with_unit(forms.percent(value), self.results)
        return f"{self.title} {forms.plain(value)}"

    def values(self, values: Mapping[str, float]) -> str:
        form = forms.of(self.metric.share)
        return ", ".join(f"{title} {form(value)}" for title, value in values.items())

    def difference(self, value: float, error: float | None = None) -> str:
        form = forms.tenths if self.metric.share else forms.plain
        text = " ± ".join(form(each) for each in (value, error) if each is not None)
        return say("difference.points" if self.metric.share else "difference.nats", value=text)

    def rung(self, rung: Rung) -> str:
        """The values of all tasks at a rung, best first, and which of them went on."""
        values = self.values({task_title(n): value.mean for n, value in rung.values.items()})
        *kept, last = (task_title(name) for name in rung.values if name in rung.kept)
        share, others = 100 * rung.share, ", ".join(kept)
        return self.say("rung", percent=share, values=values, others=others, last=last)

    def start(self, task: str, evaluation: Evaluation | None) -> str:
        line = self.say("start", task=task_title(task), value=self.value(evaluation))
        lead = self.results.lead
        if lead is None:
            return line
        gap = self.difference(lead.gain, lead.error)
        return f"{line} {self.say('lead', task=task_title(lead.second), gap=gap)}"

    def verdict(self, step: Iteration, chosen: Extension, incumbent: Evaluation | None) -> str:
        """What was compared, and the decision."""
        outcome = say("outcome.accepted" if step.accepted else "outcome.stopped")
        value, pool = self.value(chosen.evaluation), pool_title(chosen.members)
        words = {"outcome": outcome, "reached": self.say("reached", pool=pool, value=value)}
        if step.gain is None or step.error is None:
            side = "below" if self.metric.higher_is_better else "above"
            key = f"not_{side}" if step.accepted else side
            return self.say(key, value=self.value(incumbent), **words)
        needed = ""
        if step.needed:
            key, gain = "needed.rule" if step.rule else "needed", self.difference(step.needed)
            needed = self.say(key, gain=gain, rule=step.rule)
        size = self.difference(abs(step.gain), step.error)
        key = f"paired.{self.results.select_on}.{'better' if step.gain > 0 else 'worse'}"
        return self.say(key, size=size, needed=needed, **words)

    def last_word(self, word: LastWord) -> str:
        """The scores of the finalists, and how much better the kept one is than the second."""
        where = self.where if word.divisions else say("where.test")
        if word.divisions > 1:
            where = say("where.divisions", number=word.divisions)
        first, second = word.finalists[:2]
        gap = self.difference(abs(first.score - second.score), second.error)
        scores = {
            title_of(self.results, Label.of(each.network)): each.score for each in word.finalists
        }
        return self.say("last_word", where=where, values=self.values(scores), gap=gap)

    def regret(self, evaluation: Evaluation) -> list[str]:
        """What the choice cost on the test set, among all networks that were trained."""
        results, kept = self.results, score(self.results, evaluation)
        tested = [(each, score(results, each.evaluation)) for each in every_network(results)]
        known = [(title_of(results, each.label), found.mean) for each, found in tested if found]
        if kept is None or len(known) < 2:
            return []
        title, best = max(known, key=lambda entry: entry[1])
        lost = best - kept.mean
        if lost < NO_GAIN:
            return [self.say("no_regret", number=len(known))]
        points = forms.points(lost).lstrip("+")
        return [self.say("regret", number=len(known), title=title, points=points)]
