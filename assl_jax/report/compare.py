"""Several finished runs on one page: `python -m assl_jax report`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from assl_jax import outputs
from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.records import Estimate
from assl_jax.report import forms, glyphs, paper
from assl_jax.report.colours import LINE
from assl_jax.report.columns import Column, estimated, tabulate
from assl_jax.report.contents import sections
from assl_jax.report.evaluations import test_set
from assl_jax.report.headline import headline
from assl_jax.report.html import PAGE, page
from assl_jax.report.markdown import TABLES, markdown
from assl_jax.report.names import ORDER, PALETTE, backbone_title, capitalised
from assl_jax.report.runs import Group, Key, Run, groups_of, read_runs
from assl_jax.report.svg import canvas, known, percent_axis, svg
from assl_jax.report.words import say
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
    parts_for,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MARKERS = "oDsv^Pp"


def compare(folders: Sequence[Path], out: Path | None = None, *, force: bool = False) -> Path:
    """Write a page and its tables over the finished runs in `folders`.

    Args:
      folders: workdirs of runs.
      out: folder of the page; by default `compare` next to the first workdir.
      force: see `outputs.write`.

    Returns:
      The path of the page.

    Raises:
      InputError: a folder without a finished run, a damaged file, or as `outputs.write`.
    """
    report = comparison(read_runs(folders))
    out = out or folders[0].resolve().parent / "compare"
    texts = {TABLES: markdown(report), PAGE: page(report)}
    outputs.write({out / name: text.encode() for name, text in texts.items()}, force=force)
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
        parts.append(Folded(title, (table,), shown=Shown.FILES) if i else table)
    every = Section.of(capitalised(say("accuracy")), *parts)
    own = (_own(run) for run in runs)
    title = say("compare", n=len(runs))
    return Report(title, (every, Section.of(say("compare.runs"), runs_table(groups)), *own))


def _own(run: Run) -> Section:
    """What a run's own report says beside other runs."""
    parts = [Command(run.record.environment.get("command", "")).at(Shown.FILES)]
    for section in sections(run.record):
        parts += (part.at(Shown.FILES) for part in parts_for(Shown.COMPARISON, section.parts))
    title = Text((headline(run.results),), shown=Shown.FILES)
    folded = Folded(say("compare.own"), tuple(filter(None, parts)), shown=Shown.FILES)
    return Section.of(run.name, title, folded)


def titles_of(groups: Sequence[Group], metric: str = "accuracy") -> dict[Key, str]:
    """Titles of all pretrainings for which a run has the metric.

    Scratch comes first, then single tasks, then pools; variants follow their plain network.
    """
    titles: dict[Key, str] = {}
    for group in groups:
        for key, networks in group.tested.items():
            if group.score(key, metric):
                titles.setdefault(key, networks[0].label._replace(backbone="").title)
    pools = list(dict.fromkeys(pool for pool, _ in titles))

    def order(key: Key) -> tuple[int, int, int]:
        pool, variant = key
        return len(pool), pools.index(pool), ORDER.index(variant)

    return {key: titles[key] for key in sorted(titles, key=order)}


def accuracy_table(groups: Sequence[Group], metric: str = "accuracy") -> Table | None:
    """A row for each pretraining, a column for each run, and the paper's accuracies at the end.

    None if the metric was not measured. The best value of each run is strong.
    """
    titles = titles_of(groups, metric)
    papers = _papers(groups, titles) if metric == "accuracy" else {}
    columns: list[Column[Key]] = [Column(say("head.pretraining"), titles.__getitem__)]
    columns += [_scores(group, metric) for group in groups]
    for head, values in papers.items():
        columns.append(Column(head, lambda key, values=values: forms.printed(values[key])))
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


def _scores(group: Group, metric: str) -> Column[Key]:
    """A run's values; "(2 of 3)" follows if only two of three seeds have one."""
    higher = METRICS[metric].higher_is_better
    scores = estimated(group.title, lambda key: group.score(key, metric), higher_is_better=higher)

    def text(key: Key) -> str:
        number, seeds = len(group.tested.get(key, [])), len(group.runs)
        partly = 0 < number < seeds
        score = scores.text(key)
        return say("compare.partly", score=score, number=number, seeds=seeds) if partly else score

    return Column(scores.head, text, scores.value, scores.form, higher)


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


class _Row(NamedTuple):
    group: Group
    run: Run


def runs_table(groups: Sequence[Group]) -> Table | None:
    """What each run was."""
    shown = {
        "compare.head.run": lambda row: row.run.name,
        "compare.head.experiment": lambda row: row.run.results.experiment,
        "compare.head.data": lambda row: row.run.data,
        "head.backbone": lambda row: backbone_title(row.group.backbone),
        "compare.head.seed": lambda row: str(row.run.results.seed),
        "compare.head.labels": lambda row: f"{row.run.results.labels:,}",
        "compare.head.test_set": lambda row: test_set(row.run.results),
        "compare.head.commit": lambda row: row.run.record.environment.get("commit", ""),
    }
    columns = [
        Column[_Row](say(head), lambda row, text=text: text(row) or forms.DASH)
        for head, text in shown.items()
    ]
    rows = [[_Row(group, run) for run in group.runs] for group in groups]
    return tabulate(say("compare.runs.caption"), columns, rows)


@svg
def compare_chart(groups: Sequence[Group]) -> "Canvas | None":
    """Test accuracies: a row for each pretraining, a colour and a marker for each run."""
    titles = titles_of(groups)
    if not titles:
        return None
    gap = 0.7 / max(len(groups), 3)
    names = glyphs.in_chart([group.title for group in groups])
    figure = canvas(8.4, 1.2 + 0.12 * len(groups) + len(titles) * (0.16 + 0.11 * len(groups)))
    ax = figure.subplots()
    for i, group in enumerate(groups):
        look = {"color": PALETTE[i % len(PALETTE)]}
        marker, shift = MARKERS[i % len(MARKERS)], gap * (i - (len(groups) - 1) / 2)
        label = f"{names[i]} ({test_set(group.runs[0].results)})"
        for y, key in enumerate(titles):
            estimate: Estimate | None = group.score(key, "accuracy")
            if estimate is None:
                continue
            x = 100 * estimate.mean
            ax.plot(x, y + shift, marker, markersize=5.5, label=label, clip_on=False, **look)
            label = ""  # one entry in the legend is enough
            if known(estimate.std):
                std = 100 * estimate.std
                ax.errorbar(x, y + shift, xerr=std, linewidth=1, capsize=2, **look)
    for y in range(1, len(titles)):
        ax.axhline(y - 0.5, color=LINE, linewidth=0.8)
    ax.set_yticks(range(len(titles)), list(titles.values()))
    ax.set_ylim(len(titles) - 0.5, -0.5)
    percent_axis(ax, say("compare.axis"))
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=2 if len(groups) > 1 else 1)
    return figure
