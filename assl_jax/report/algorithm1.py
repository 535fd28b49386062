"""Algorithm 1 with the paper's rules: the layout of Tables 2 and 3, and its decisions."""

from typing import NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Evaluation, Extension, Iteration, Results
from assl_jax.report import forms
from assl_jax.report.columns import Column, tabulate
from assl_jax.report.evaluations import decided_on, deciding_metric, test_set, tried
from assl_jax.report.names import capitalised, pool_title, task_title
from assl_jax.report.pairs import by_similarity, extension_columns
from assl_jax.report.trace import Trace
from assl_jax.sections import Table
from assl_jax.words import say


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


def lines(results: Results, trace: Trace) -> list[str]:
    """What came next, its value and the decision, a sentence for each step."""
    begun = results.iterations[0].pool[0]
    incumbent = results.singles.get(begun)
    found = [trace.say("start", task=task_title(begun), value=trace.value(incumbent))]
    for step in results.iterations:
        chosen = next(each for each in step.candidates if each.task == step.chosen)
        value, pool = trace.value(chosen.evaluation), pool_title(chosen.members)
        side = "below" if trace.metric.higher_is_better else "above"
        verdict = trace.say(
            f"not_{side}" if step.accepted else side,
            reached=trace.say("reached", pool=pool, value=value),
            value=trace.value(incumbent),
            outcome=say("outcome.accepted" if step.accepted else "outcome.stopped"),
        )
        found.append(f"{trace.next(step.criterion, chosen)} {verdict}")
        incumbent = chosen.evaluation if step.accepted else incumbent
    return [*found, *([trace.say("nothing_left")] if results.iterations[-1].accepted else [])]
