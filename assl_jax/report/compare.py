"""Several finished runs on one page: `python -m assl_jax report`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.report import forms, glyphs, paper
from assl_jax.report.colours import LINE
from assl_jax.report.evaluations import test_set
from assl_jax.report.html import PAGE, Chart, render, write_files
from assl_jax.report.metrics_table import metrics_table
from assl_jax.report.names import PALETTE, START_LABEL, backbone_title, capitalised
from assl_jax.report.pairs import correlation_lines, pairs_table
from assl_jax.report.runs import Column, Key, Run, columns_of, read_runs
from assl_jax.report.self_assl import guard_table, self_assl_lines, self_assl_table
from assl_jax.report.sentences import headline, outcome_lines, search_trace
from assl_jax.report.svg import canvas, known, percent_axis, svg
from assl_jax.report.table import Cell, Row, Table, markdown, plain
from assl_jax.report.tables import TABLES, search_table, similarity_table
from assl_jax.strategies.network import VARIANTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "oDsv^Pp"
OTHER_DATA = (
    "The paper's values were measured on other data (STL-10 with 1,000 labels; brain CT of one "
    "hospital); compare the pattern, not the values."
)


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
    runs = read_runs(folders)
    out = out or folders[0].resolve().parent / "compare"
    texts = {TABLES: compare_markdown(runs), PAGE: compare_page(runs)}
    return write_files(out, texts, force=force)


def titles_of(columns: Sequence[Column], metric: str = "accuracy") -> dict[Key, str]:
    """Titles of all pretrainings for which a run has the metric.

    Scratch comes first, then single tasks, then pools; variants follow their plain network.
    """
    titles: dict[Key, str] = {}
    for column in columns:
        for key, networks in column.tested.items():
            if column.score(key, metric):
                titles.setdefault(key, networks[0].label._replace(backbone="").title)

    pools = list(dict.fromkeys(key.pool for key in titles))
    variants = ["plain", START_LABEL, *VARIANTS]

    def order(key: Key) -> tuple[int, int, int]:
        return len(key.pool), pools.index(key.pool), variants.index(key.variant)

    return {key: titles[key] for key in sorted(titles, key=order)}


def accuracy_table(columns: Sequence[Column], metric: str = "accuracy") -> Table | None:
    """A row for each pretraining, a column for each run, and the paper's accuracies at the end.

    None if the metric was not measured. The best value of each run is strong.
    """
    titles = titles_of(columns, metric)
    if not titles:
        return None
    papers = _papers(columns, titles) if metric == "accuracy" else {}
    shown = [_scores(column, list(titles), metric) for column in columns]
    shown += [[Cell(forms.printed(values[key])) for key in titles] for values in papers.values()]
    rows = tuple(
        Row((Cell(title), *cells)) for title, *cells in zip(titles.values(), *shown, strict=True)
    )
    caption = f"Test {METRICS[metric].title} in %: {forms.SPREAD}"
    if any(len(column.runs) > 1 for column in columns):
        caption += "; in a column of several seeds, over the means of the seeds"
    caption += f"; {_test_sets(columns)}"
    caption += f". {OTHER_DATA}" if papers else ""
    return Table(caption, ("Pretraining", *(column.title for column in columns), *papers), rows)


def _test_sets(columns: Sequence[Column]) -> str:
    """The test set of all runs, or of each."""
    each = {column.title: test_set(column.runs[0].results) for column in columns}
    return (
        next(iter(each.values()))
        if len(set(each.values())) == 1
        else "; ".join(f"{title}: {words}" for title, words in each.items())
    )


def _scores(column: Column, keys: Sequence[Key], metric: str) -> list[Cell]:
    """A run's values; "(2 of 3)" follows if only two of three seeds have one."""
    estimates = [column.score(key, metric) for key in keys]
    means = [estimate.mean if estimate else None for estimate in estimates]
    higher = METRICS[metric].higher_is_better
    best = forms.winner(means, forms.percent, higher_is_better=higher)
    cells = []
    for key, estimate, mean in zip(keys, estimates, means, strict=True):
        number, seeds = len(column.tested.get(key, [])), len(column.runs)
        partly = f" ({number} of {seeds})" if 0 < number < seeds else ""
        cells.append(Cell(forms.mean_std(estimate) + partly, forms.percent(mean) == best))
    return cells


def _papers(
    columns: Sequence[Column], keys: Mapping[Key, Any]
) -> dict[str, dict[Key, float | None]]:
    """The paper's accuracies by the head of their column, if it has at least two of them."""
    papers = {}
    for column in columns:
        values = {
            key: paper.accuracy(column.rank, column.backbone, tuple(key.pool), key.variant)
            for key in keys
        }
        if sum(value is not None for value in values.values()) > 1:
            network = paper.network(column.backbone)
            papers[f"Paper ({paper.DATA[column.rank]}, {network})"] = values
    return papers


def runs_table(columns: Sequence[Column]) -> Table:
    """What each run was."""
    rows = []
    for column in columns:
        for i, run in enumerate(column.runs):
            r = run.results
            cells = [run.name, r.experiment, run.data, backbone_title(column.backbone)]
            cells += [str(r.seed), f"{r.labels:,}", test_set(r)]
            cells += [run.environment.get("commit", "")]
            rows.append(Row(tuple(Cell(text or forms.DASH) for text in cells), opens=i == 0))
    heads = ("Run", "Experiment", "Data", "Backbone", "Seed", "Labels", "Test set", "Commit")
    return Table("Runs that differ only in their seed are grouped", heads, tuple(rows))


@svg
def compare_chart(columns: Sequence[Column]) -> "Figure | None":
    """Test accuracies: a row for each pretraining, a colour and a marker for each run."""
    titles = titles_of(columns)
    if not titles:
        return None
    gap = 0.7 / max(len(columns), 3)
    names = glyphs.in_chart([column.title for column in columns])
    figure = canvas(8.4, 1.2 + 0.12 * len(columns) + len(titles) * (0.16 + 0.11 * len(columns)))
    ax = figure.subplots()
    for i, column in enumerate(columns):
        tint, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        label = f"{names[i]} ({test_set(column.runs[0].results)})"
        for y, key in enumerate(titles):
            estimate = column.score(key, "accuracy")
            if estimate is None:
                continue
            x, y_run = 100 * estimate.mean, y + gap * (i - (len(columns) - 1) / 2)
            ax.plot(x, y_run, marker, markersize=5.5, color=tint, label=label, clip_on=False)
            label = ""  # one entry in the legend is enough
            if known(estimate.std):
                ax.errorbar(x, y_run, xerr=100 * estimate.std, color=tint, linewidth=1, capsize=2)
    for y in range(1, len(titles)):
        ax.axhline(y - 0.5, color=LINE, linewidth=0.8)
    ax.set_yticks(range(len(titles)), list(titles.values()))
    ax.set_ylim(len(titles) - 0.5, -0.5)
    percent_axis(ax, "test accuracy (%)")
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=2 if len(columns) > 1 else 1)
    return figure


def own_tables(run: Run) -> list[Table]:
    """A run's tables, with the paper's values if it has some."""
    r = run.results
    tables = [
        metrics_table(r),
        search_table(r),
        pairs_table(r, with_paper=True) or pairs_table(r),
        self_assl_table(r, with_paper=True) or self_assl_table(r),
        guard_table(r),
        similarity_table(r.similarity),
    ]
    return [table for table in tables if table]


def _own_lines(run: Run) -> list[str]:
    r = run.results
    return [*outcome_lines(r), *correlation_lines(r), *self_assl_lines(r), *search_trace(r)]


def compare_page(runs: Sequence[Run]) -> str:
    """The whole of `index.html`."""
    columns = columns_of(runs)
    outcomes = "; ".join(f"{run.name}: {headline(run.results)}" for run in runs)
    alt = f"Dot chart of test accuracies in %, a row for each pretraining. {outcomes}"
    return render(
        "compare.html.j2",
        title=_title(runs),
        accuracies=Chart(compare_chart(columns), alt),
        key=glyphs.key([column.title for column in columns]),
        metrics={
            capitalised(metric.title): accuracy_table(columns, name)
            for name, metric in shares().items()
        },
        runs=runs_table(columns),
        own=[
            {
                "name": run.name,
                "headline": headline(run.results),
                "command": run.environment.get("command", ""),
                "lines": _own_lines(run),
                "tables": own_tables(run),
            }
            for run in runs
        ],
    )


def _title(runs: Sequence[Run]) -> str:
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''} compared"


def compare_markdown(runs: Sequence[Run]) -> str:
    """The whole of `tables.md`."""
    columns = columns_of(runs)
    tables = [accuracy_table(columns, metric) for metric in shares()]
    parts = [f"# {_title(runs)}\n", *(markdown(table) for table in tables if table)]
    parts += [markdown(runs_table(columns))]
    for run in runs:
        parts += [f"## {plain(run.name)}\n", f"{plain(headline(run.results))}\n"]
        if command := run.environment.get("command"):
            parts += [f"    {' '.join(command.split())}\n"]
        parts += [f"{plain(line)}\n" for line in _own_lines(run)]
        parts += [markdown(table) for table in own_tables(run)]
    return "\n".join(parts)
