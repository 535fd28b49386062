"""How the sentences of a search print its numbers."""

from collections.abc import Mapping

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Evaluation, Extension, Results, Rung
from assl_jax.report import forms
from assl_jax.report.evaluations import (
    NO_GAIN,
    decided_on,
    deciding_metric,
    every_network,
    score,
    title_of,
)
from assl_jax.report.names import inside, pool_title, task_title
from assl_jax.report.outcome import with_unit
from assl_jax.words import WORDS, say


class Trace:
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
        text = text.replace("-", "−")
        return say("difference.points" if self.metric.share else "difference.nats", value=text)

    def gain(self, value: float, error: float) -> str:
        """How much better or worse something is."""
        words = self.difference(abs(value), error)
        return self.say("better" if value >= 0 else "worse", difference=words)

    def rung(self, rung: Rung) -> str:
        """The values of all tasks at a rung, best first, and which of them went on."""
        values = self.values({task_title(n): value.mean for n, value in rung.values.items()})
        *kept, last = (task_title(name) for name in rung.values if name in rung.kept)
        share, others = 100 * rung.share, ", ".join(kept)
        return self.say("rung", percent=share, values=values, others=others, last=last)

    def next(self, criterion: str, chosen: Extension) -> str:
        """Why a task was the next one."""
        known = f"search.next.{criterion}" in WORDS
        return say(
            f"search.next.{criterion if known else 'unknown'}",
            task=task_title(chosen.task),
            pool=pool_title(chosen.pool),
            similarity=forms.similar(chosen.similarity),
            complement=forms.plain(chosen.complement),
        )

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
        return [self.say("regret", number=len(known), title=inside(title), points=points)]
