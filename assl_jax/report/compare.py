"""Several finished runs on one page: `python -m assl_jax report`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from assl_jax import outputs
from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.report import files_of, forms, glyphs, paper, sections
from assl_jax.report.colours import LINE
from assl_jax.report.columns import Column, measured, tabulate
from assl_jax.report.evaluations import test_set
from assl_jax.report.html import PAGE
from assl_jax.report.names import ORDER, PALETTE, Label, backbone_title, capitalised
from assl_jax.report.outcome import headline
from assl_jax.report.runs import Group, Key, Run, groups_of, read_runs
from assl_jax.report.svg import Canvas, canvas, known, name_rows, percent_axis, svg
from assl_jax.sections import (
    Command,
    Figure,
    Folded,
    Part,
    Report,
    Section,
    Shown,
    Table,
    Text,
    sections_for,
)
from assl_jax.words import say

MARKERS = "oDsv^Pp"


def compare(folders: Sequence[Path], out: Path | None = None, *, force: bool = False) -> Path:
    """Write a page and its tables over finished runs; returns the path of the page.

    By default they are in `compare` next to the first folder. `force` is that of `outputs.write`.
    """
    report = comparison(read_runs(folders))
    out = out or folders[0].resolve().parent / "compare"
    texts = {out / name: text.encode() for name, text in files_of(report).items()}
    outputs.write(texts, force=force)
    return out / PAGE


def comparison(runs: Sequence[Run]) -> Report:
    """The report over several runs: their accuracies side by side, then each run's own tables."""
    groups = groups_of(runs)
    outcomes = "; ".join(f"{run.name}: {headline(run.results)}" for run in runs)
    chart = Figure(
        partial(compare_chart, groups),
        say("compare.alt", outcomes=outcomes),
        notes=(glyphs.note([group.title for group in groups]),),
    )
    tables = [(name, table) for name in shares() if (table := accuracy_table(groups, name))]
    parts: list[Part] = [chart]
    for i, (name, table) in enumerate(tables):
        title = capitalised(METRICS[name].title)
        parts.append(Folded((table,), title, shown=Shown.FILES) if i else table)
    every = Section.of(capitalised(say("accuracy")), *parts)
    own = (_own(run) for run in runs)
    title = say("compare", n=len(runs))
    return Report(title, (every, Section.of(say("compare.runs"), runs_table(groups)), *own))


def _own(run: Run) -> Section:
    """What a run's own report says beside other runs."""
    parts: list[Part] = [Command(run.record.environment.get("command", ""), shown=Shown.FILES)]
    for section in sections_for(Shown.COMPARISON, sections(run.record)):
        parts += (part.at(Shown.FILES) for part in section.parts)
    title = Text((headline(run.results),), shown=Shown.FILES)
    folded = Folded(tuple(filter(None, parts)), say("compare.own"), shown=Shown.FILES)
    return Section.of(run.name, title, folded)


def titles_of(groups: Sequence[Group], metric: str = "accuracy") -> dict[Key, str]:
    """Titles of all pretrainings for which a run has the metric.

    Scratch comes first, then single tasks, then pools; variants follow their plain network.
    """
    labels: dict[Key, Label] = {}
    for group in groups:
        for key, networks in group.tested.items():
            if group.score(key, metric):
                labels.setdefault(key, networks[0].label._replace(backbone=""))
    pools = list(dict.fromkeys(pool for pool, _ in labels))

    def order(key: Key) -> tuple[int, int, int]:
        pool, _ = key
        return len(pool), pools.index(pool), ORDER.index(labels[key].variant)

    return {key: labels[key].title for key in sorted(labels, key=order)}


def accuracy_table(groups: Sequence[Group], metric: str = "accuracy") -> Table | None:
    """A row for each pretraining, a column for each run, and the paper's accuracies at the end.

    None if the metric was not measured. The best value of each run is strong.
    """
    titles = titles_of(groups, metric)
    papers = _papers(groups, titles) if metric == "accuracy" else {}
    columns = [Column(say("head.pretraining"), titles.__getitem__)]
    columns += [_scores(group, metric) for group in groups]
    columns += [_printed(head, values) for head, values in papers.items()]
    several = any(len(group.runs) > 1 for group in groups)
    caption = say(
        "compare.caption",
        metric=METRICS[metric].title,
        spread=say("spread"),
        seeds=say("compare.seeds") if several else "",
        test_sets=_test_sets(groups),
    )
    caption += say("compare.other_data") if papers else ""
    return tabulate(caption, columns, [list(titles)], opens=False, sortable=True)


def _scores(group: Group, metric: str) -> Column:
    """A run's values; "(2 of 3)" follows if only two of three seeds have one."""

    def text(key: Key) -> str:
        score = forms.mean_std(group.score(key, metric))
        number, seeds = len(group.tested.get(key, [])), len(group.runs)
        partly = 0 < number < seeds
        return say("compare.partly", score=score, number=number, seeds=seeds) if partly else score

    return measured(group.title, metric, lambda key: group.score(key, metric), text=text)


def _printed(head: str, values: Mapping[Key, float | None]) -> Column:
    return Column(head, lambda key: forms.printed(values[key]))


def _test_sets(groups: Sequence[Group]) -> str:
    """The test set of all runs, or of each."""
    each = {group.title: test_set(group.runs[0].results) for group in groups}
    if len(set(each.values())) == 1:
        return next(iter(each.values()))
    return "; ".join(f"{title}: {words}" for title, words in each.items())


def _papers(groups: Sequence[Group], keys: Mapping[Key, Any]) -> dict[str, dict[Key, float | None]]:
    """The paper's accuracies by the head of their column, if it has at least two of them."""
    papers = {}
    for group in groups:
        values = {
            (pool, variant): paper.accuracy(group.rank, group.backbone, tuple(pool), variant)
            for pool, variant in keys
        }
        if sum(value is not None for value in values.values()) > 1:
            data, network = paper.DATA[group.rank], paper.network(group.backbone)
            papers[say("compare.paper", data=data, network=network)] = values
    return papers


def runs_table(groups: Sequence[Group]) -> Table | None:
    """What each run was."""
    shown: dict[str, Callable[[Run, Group], str]] = {
        "compare.head.run": lambda run, _: run.name,
        "compare.head.experiment": lambda run, _: run.results.experiment,
        "compare.head.data": lambda run, _: run.data,
        "head.backbone": lambda _, group: backbone_title(group.backbone),
        "compare.head.seed": lambda run, _: str(run.results.seed),
        "compare.head.labels": lambda run, _: f"{run.results.labels:,}",
        "compare.head.test_set": lambda run, _: test_set(run.results),
        "compare.head.commit": lambda run, _: run.record.environment.get("commit", ""),
    }

    def column(head: str, text: Callable[[Run, Group], str]) -> Column:
        return Column(say(head), lambda row: text(*row) or forms.DASH)

    columns = [column(*each) for each in shown.items()]
    rows = [[(run, group) for run in group.runs] for group in groups]
    return tabulate(say("compare.runs.caption"), columns, rows)


@svg
def compare_chart(groups: Sequence[Group]) -> Canvas | None:
    """Test accuracies: a row for each pretraining, a colour and a marker for each run."""
    titles = titles_of(groups)
    if not titles:
        return None
    gap = 0.7 / max(len(groups), 3)
    names = glyphs.in_chart([group.title for group in groups])
    height = 1.2 + 0.12 * len(groups) + len(titles) * (0.16 + 0.11 * len(groups))
    figure, (ax,) = canvas(8.4, height)
    for i, group in enumerate(groups):
        tint, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        label = f"{names[i]} ({test_set(group.runs[0].results)})"
        for row, key in enumerate(titles):
            y = row + gap * (i - (len(groups) - 1) / 2)
            estimate = group.score(key, "accuracy")
            if estimate is None:
                continue
            x = 100 * estimate.mean
            ax.plot(x, y, marker, markersize=5.5, color=tint, label=label, clip_on=False)
            label = ""  # one entry in the legend is enough
            if known(estimate.std):
                ax.errorbar(x, y, xerr=100 * estimate.std, color=tint, linewidth=1, capsize=2)
    for y in range(1, len(titles)):
        ax.axhline(y - 0.5, color=LINE, linewidth=0.8)
    name_rows(ax, list(titles.values()))
    percent_axis(ax, say("compare.axis"))
    figure.legend(loc="outside upper left", ncols=2 if len(groups) > 1 else 1)
    return figure
