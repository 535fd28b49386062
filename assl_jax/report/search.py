"""The search: the layout of the paper's Tables 2 and 3, and its decisions as sentences."""

from typing import NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Control, Evaluation, Extension, Iteration, LastWord, Results, Rung
from assl_jax.report import forms
from assl_jax.report.columns import Column, number, tabulate
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
from assl_jax.report.headline import with_unit
from assl_jax.report.names import Label, capitalised, pool_title, task_title
from assl_jax.report.pairs import by_similarity, extension_columns
from assl_jax.report.record import RunRecord
from assl_jax.report.words import say
from assl_jax.sections import Listing, Section, Shown, Table, Text


def section(run: RunRecord) -> Section:
    """The table of the candidates, and the decisions one after the other."""
    table = search_table(run.results)
    return Section.of(
        say("search"),
        table,
        Text((say("pairs.key"),), soft=True) if table else None,
        Listing(tuple(search_trace(run.results)), ordered=True, shown=Shown.EVERYWHERE),
    )


class Candidate(NamedTuple):
    """A row of the search: a single task of the first iteration, or an extension of the pool."""

    iteration: int
    a1: str
    a2: str
    evaluation: Evaluation | None
    extension: Extension | None
    verdict: str


def search_table(results: Results) -> Table | None:
    """The search in the layout of the paper's Table 2; None if nothing was searched.

    Candidates are in the order of their similarity to the pool. One that was not trained has
    dashes. The value used for selection has a separate column, unless it is the test accuracy.
    """
    if not results.iterations:
        return None
    metric = deciding_metric(results)
    columns: list[Column[Candidate]] = [
        Column(say("search.head.iteration"), lambda row: str(row.iteration), once=True),
        Column(say("head.a1"), lambda row: row.a1),
        Column(say("head.a2"), lambda row: row.a2),
        *(_of_candidate(column) for column in extension_columns(tried(results))),
    ]
    accuracy = number(
        say("search.head.accuracy"),
        lambda row: row.evaluation.accuracy.mean if row.evaluation else None,
    )
    columns.insert(-2, accuracy)
    if results.select_on == "cv" or metric:
        head = capitalised(metric or say("selection"))
        decided = METRICS[results.metric]
        columns.append(
            number(
                f"{head} ({say(f'short.{results.select_on}')})",
                lambda row: decided_on(results, row.evaluation),
                forms.of(decided.share),
                higher_is_better=decided.higher_is_better,
            )
        )
    columns.append(
        Column(
            say("search.head.decision"), lambda r: say(f"verdict.{r.verdict}") if r.verdict else ""
        )
    )
    caption = "search.caption.decided" if metric else "search.caption"
    return tabulate(
        say(caption, test_set=test_set(results), metric=metric),
        columns,
        [_singles(results), *(_candidates(*step) for step in enumerate(results.iterations, 2))],
        names=3,
        verdict=lambda row: row.verdict,
    )


def _of_candidate(column: Column[Extension]) -> Column[Candidate]:
    """A column of extensions; single tasks have no text."""
    value = column.value
    return Column(
        column.head,
        lambda row: column.text(row.extension) if row.extension else "",
        lambda row: value(row.extension) if row.extension and value else None,
        column.form,
        column.higher_is_better,
    )


def _singles(results: Results) -> list[Candidate]:
    start = results.iterations[0].pool
    return [
        Candidate(1, task_title(task), forms.DASH, single, None, "start" * ((task,) == start))
        for task, single in results.singles.items()
    ]


def _candidates(iteration: int, step: Iteration) -> list[Candidate]:
    verdict = "accepted" if step.accepted else "stopped"
    return [
        Candidate(
            iteration,
            "" if i else pool_title(step.pool),
            task_title(each.task),
            each.evaluation,
            each,
            verdict * (each.task == step.chosen),
        )
        for i, each in enumerate(sorted(step.candidates, key=by_similarity))
    ]


def search_trace(results: Results) -> list[str]:
    """The search, one sentence per step: the least similar task, its result and the decision.

    The numbers are those that the decision was made on. The last sentence is the regret.
    """
    word = results.last_word
    if results.best is None or not (results.iterations or results.rungs or word):
        return []
    begun = results.iterations[0].pool if results.iterations else results.best.pool[:1]
    if word and not begun:
        begun = next(finalist.pool for finalist in word.finalists if finalist.pool)
    lines = [_rung(results, rung) for rung in results.rungs]
    lines.append(_start(results, begun[0]))
    if others := [name for name in results.left_out if name not in begun]:
        base = say("base.start" if results.start else "base.scratch")
        names = ", ".join(map(task_title, others))
        lines.append(say("search.left_out", base=base, where=_where(results), tasks=names))
    incumbent: Evaluation | None = results.singles.get(begun[0])
    for step in results.iterations:
        chosen = next(c for c in step.candidates if c.task == step.chosen)
        lines.append(f"{_next(step, chosen)} {_verdict(results, step, chosen, incumbent)}")
        incumbent = chosen.evaluation if step.accepted else incumbent
    if not results.iterations or results.iterations[-1].accepted:
        lines.append(say("search.nothing_left"))
    if results.control:
        lines.append(_control(results, results.control))
    lines += [_last_word(results, word)] if word else []
    return [*lines, *_regret(results)]


def _rung(results: Results, rung: Rung) -> str:
    """The values of all tasks at a rung, best first, and which of them went on."""
    values = {task_title(name): value.mean for name, value in rung.values.items()}
    *others, last = (task_title(name) for name in rung.values if name in rung.kept)
    return say(
        "search.rung",
        percent=100 * rung.share,
        unit=_unit(results),
        values=_listed(values, results),
        others=", ".join(others),
        last=last,
    )


def _start(results: Results, task: str) -> str:
    value = _decided(results, results.singles.get(task))
    line = say("search.start", task=task_title(task), value=value, where=_where(results))
    if lead := results.lead:
        gap = _difference(results, lead.gain, lead.error)
        line += " " + say("search.lead", task=task_title(lead.second), gap=gap)
    return line


def _next(step: Iteration, chosen: Extension) -> str:
    """Why a task was the next one."""
    return say(
        f"search.next.{step.criterion or 'unknown'}",
        task=task_title(chosen.task),
        pool=pool_title(step.pool),
        similarity=forms.similar(chosen.similarity),
        complement=forms.plain(chosen.complement),
    )


def _verdict(
    results: Results, step: Iteration, chosen: Extension, incumbent: Evaluation | None
) -> str:
    """What was compared, and the decision."""
    outcome = say("outcome.accepted" if step.accepted else "outcome.stopped")
    reached = say(
        "search.reached",
        pool=pool_title(chosen.members),
        value=_decided(results, chosen.evaluation),
        where=_where(results),
    )
    if step.gain is None or step.error is None:
        side = "below" if METRICS[results.metric].higher_is_better else "above"
        key = f"search.{'not_' if step.accepted else ''}{side}"
        value = _decided(results, incumbent)
        return say(key, reached=reached, value=value, outcome=outcome)
    needed = _difference(results, step.needed) if step.needed else ""
    if needed:
        needed = say(
            "search.needed.rule" if step.rule else "search.needed", gain=needed, rule=step.rule
        )
    return say(
        f"search.paired.{results.select_on}.{'better' if step.gain > 0 else 'worse'}",
        reached=reached,
        size=_difference(results, abs(step.gain), step.error),
        needed=needed,
        outcome=outcome,
    )


def _control(results: Results, control: Control) -> str:
    return say(
        "search.control",
        task=pool_title(control.pool),
        pool=pool_title(control.as_long_as),
        value=_decided(results, control.evaluation),
        where=_where(results),
    )


def _last_word(results: Results, word: LastWord) -> str:
    """The scores of the finalists, and how much better the kept one is than the second."""
    where = _where(results)
    if word.divisions > 1:
        where = say("where.divisions", number=word.divisions)
    elif not word.divisions:
        where = say("where.test")
    first, second = word.finalists[:2]
    scores = {title_of(results, Label.of(each)): each.score for each in word.finalists}
    return say(
        "search.last_word",
        unit=_unit(results),
        where=where,
        values=_listed(scores, results),
        gap=_difference(results, abs(first.score - second.score), second.error),
    )


def _regret(results: Results) -> list[str]:
    """What the choice cost on the test set, among all networks that were trained."""
    tested = [(t, score(results, t.evaluation)) for t in every_network(results)]
    known = [(title_of(results, t.label), e.mean) for t, e in tested if e]
    kept = score(results, results.best.evaluation) if results.best else None
    if kept is None or len(known) < 2:
        return []
    title, best = max(known, key=lambda entry: entry[1])
    lost = best - kept.mean
    if lost < NO_GAIN:
        return [say("search.no_regret", number=len(known))]
    points = forms.points(lost).lstrip("+")
    return [say("search.regret", number=len(known), title=title, points=points)]


def _where(results: Results) -> str:
    return say(f"where.{results.select_on}")


def _unit(results: Results) -> str:
    """The metric of the selection, for a list of its values."""
    metric = deciding_metric(results) or say("accuracy")
    return say("unit.percent", metric=metric) if METRICS[results.metric].share else metric


def _listed(values: dict[str, float], results: Results) -> str:
    """Values of the metric of the selection, each behind what it belongs to."""
    form = forms.of(METRICS[results.metric].share)
    return ", ".join(f"{title} {form(value)}" for title, value in values.items())


def _decided(results: Results, evaluation: Evaluation | None) -> str:
    """A value of the deciding metric for a sentence, with its unit."""
    value = decided_on(results, evaluation)
    if METRICS[results.metric].share:
        return with_unit(forms.percent(value), results)
    return f"{deciding_metric(results)} {forms.plain(value)}"


def _difference(results: Results, value: float, error: float | None = None) -> str:
    """A difference of the deciding metric and its standard error."""
    share = METRICS[results.metric].share
    form = forms.tenths if share else forms.plain
    text = " ± ".join(form(v) for v in (value, error) if v is not None)
    return say("difference.points" if share else "difference.nats", value=text)
