"""Several finished runs on one page: `python -m assl_jax.report`."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assl_jax.errors import InputError
from assl_jax.report import paper
from assl_jax.report.html import chart_html, document, folded, section, soft, table_html
from assl_jax.report.metrics_table import METRICS, metrics_table
from assl_jax.report.pairs import correlation_lines, pairs_table
from assl_jax.report.record import COLOURS, VARIANTS, capital, display_backbone
from assl_jax.report.runs import Column, Key, Run, columns_of, read_runs
from assl_jax.report.self_assl import guard_table, self_assl_lines, self_assl_table
from assl_jax.report.sentences import headline, search_trace
from assl_jax.report.svg import canvas, known, svg
from assl_jax.report.table import (
    DASH,
    Cell,
    Row,
    Table,
    markdown,
    mean_std,
    percent,
    plain,
    printed,
    winner,
)
from assl_jax.report.tables import search_table, similarity_table
from assl_jax.report.write import PAGE, write_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "oDsv^Pp"
OTHER_DATA = (
    "The paper's figures are of other data (STL-10 with 1,000 labels; brain CT of one hospital) "
    "and stand here for the pattern, not to be matched."
)


def compare(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write a page and its tables over the finished runs in `folders`.

    Args:
      folders: workdirs of runs.
      out: where to; by default `compare` beside the first of them.

    Returns:
      The path of the page.

    Raises:
      InputError: a folder without a finished run, a broken file, or `out` cannot be written.
    """
    runs = read_runs(folders)
    out = out or folders[0].resolve().parent / "compare"
    texts = {"tables.md": compare_markdown(runs), PAGE: compare_page(runs)}
    try:
        return write_files(out, texts)
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror}") from error


def rows_of(columns: Sequence[Column], metric: str = "accuracy") -> dict[Key, str]:
    """Everything that any of the runs tested, with its name: scratch, single tasks, pools."""
    names: dict[Key, str] = {}
    for column in columns:
        for key, networks in column.found.items():
            if known(column.score(key, metric)[0]):
                names.setdefault(key, networks[0]._replace(backbone="").name)

    first = {pool: i for i, (pool, _) in reversed(list(enumerate(names)))}
    variants = ["", *VARIANTS]

    def place(key: Key) -> tuple[int, int, int]:
        pool, variant = key
        return len(pool) - (pool == {"scratch"}), first[pool], variants.index(variant)

    return {key: names[key] for key in sorted(names, key=place)}


def accuracy_table(columns: Sequence[Column], metric: str = "accuracy") -> Table | None:
    """A row for each pretraining, a column for each run, and the paper's accuracies at the end.

    None where the metric was not measured. The best of a run is strong.
    """
    names = rows_of(columns, metric)
    if not names:
        return None
    leaders = [winner([c.score(key, metric)[0] for key in names], percent) for c in columns]
    papers = _papers(columns, names) if metric == "accuracy" else {}
    rows = []
    for key, name in names.items():
        cells = []
        for column, leader in zip(columns, leaders, strict=True):
            mean, std = column.score(key, metric)
            number, seeds = len(column.found.get(key, [])), len(column.runs)
            partly = f" ({number} of {seeds})" if 0 < number < seeds else ""
            cells.append(Cell(mean_std(mean, std) + partly, percent(mean) == leader))
        cells += [Cell(printed(values[key])) for values in papers.values()]
        rows.append(Row((Cell(name), *cells)))
    caption = f"Test {METRICS[metric]} in %: mean ± standard deviation over repeated fine-tunings"
    if any(len(column.runs) > 1 for column in columns):
        caption += "; where several seeds stand together, of their means"
    caption += f". {OTHER_DATA}" if papers else ""
    heads = ("Pretraining", *(column.name for column in columns), *papers)
    return Table(caption, heads, tuple(rows))


def _papers(columns: Sequence[Column], keys: Mapping[Key, Any]) -> dict[str, dict[Key, Any]]:
    """The paper's accuracies by the head of their column; none that would be empty but for one."""
    papers = {}
    for column in columns:
        rank, network = column.rank, paper.network(column.backbone)
        values = {
            (pool, variant): paper.accuracy(rank, column.backbone, pool, variant)
            for pool, variant in keys
        }
        if sum(value is not None for value in values.values()) > 1:
            papers[f"Paper ({paper.DATA[rank]}, {network})"] = values
    return papers


def runs_table(columns: Sequence[Column]) -> Table:
    """What each run was."""
    rows = []
    for column in columns:
        for i, run in enumerate(column.runs):
            r = run.results
            labels, images = (f"{r[k]:,}" if r.get(k) else DASH for k in ("labels", "test_images"))
            facts = (r.get("experiment"), run.data, display_backbone(column.backbone))
            last = (run.seed, labels, images, run.environment.get("commit"))
            cells = [Cell(DASH if v in (None, "") else str(v)) for v in (*facts, *last)]
            rows.append(Row((Cell(run.name), *cells), opens=i == 0))
    heads = ("Run", "Experiment", "Data", "Backbone", "Seed", "Labels", "Test set", "Commit")
    caption = "Runs that differ in their seed alone stand together"
    return Table(caption, heads, tuple(rows))


@svg
def compare_chart(columns: Sequence[Column]) -> "Figure | None":
    """Test accuracies, a row for each pretraining and a colour and marker for each run."""
    names = rows_of(columns)
    if not names:
        return None
    gap = 0.7 / max(len(columns), 3)
    figure = canvas(8.4, 1.2 + 0.12 * len(columns) + len(names) * (0.16 + 0.11 * len(columns)))
    ax = figure.subplots()
    colours = list(COLOURS.values())
    for i, column in enumerate(columns):
        tint, marker = colours[i % len(colours)], MARKERS[i % len(MARKERS)]
        drawn = False
        for y, key in enumerate(names):
            mean, std = column.score(key, "accuracy")
            if mean is None or not known(mean):
                continue
            at = y + gap * (i - (len(columns) - 1) / 2)
            label = "" if drawn else column.name
            ax.plot(100 * mean, at, marker, markersize=5.5, color=tint, label=label)
            drawn = True
            if std is not None and known(std):
                ax.errorbar(100 * mean, at, xerr=100 * std, color=tint, linewidth=1, capsize=2)
    for y in range(1, len(names)):
        ax.axhline(y - 0.5, color="#eeeeee", linewidth=0.8)
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("test accuracy (%)")
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=2 if len(columns) > 1 else 1)
    return figure


def own_tables(run: Run) -> list[Table]:
    """A run's tables, beside the paper's printed values where there are some."""
    r = run.results
    found = [
        metrics_table(r),
        search_table(r),
        pairs_table(r, printed_too=True) or pairs_table(r),
        self_assl_table(r, printed_too=True) or self_assl_table(r),
        guard_table(r),
        similarity_table(r),
    ]
    return [table for table in found if table]


def _own_lines(run: Run) -> list[str]:
    r = run.results
    return [*correlation_lines(r), *self_assl_lines(r), *search_trace(r)]


def compare_page(runs: Sequence[Run]) -> str:
    """The whole of `index.html`."""
    columns = columns_of(runs)
    tables = {metric: accuracy_table(columns, metric) for metric in METRICS}
    said = "; ".join(f"{run.name}: {headline(run.results)}" for run in runs)
    alt = f"Dot chart of test accuracies in %, a row for each pretraining. {said}"
    accuracies = chart_html(compare_chart(columns), alt) + table_html(tables.pop("accuracy"))
    for metric, table in tables.items():
        accuracies += folded(capital(METRICS[metric]), table_html(table))
    body = [
        f"<h1>{escape(_title(runs))}</h1>",
        section("Accuracy", accuracies),
        section("The runs", table_html(runs_table(columns))),
        section("Each run's own tables", "".join(map(_own, runs))),
    ]
    return document(_title(runs), body)


def _title(runs: Sequence[Run]) -> str:
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''} compared"


def _own(run: Run) -> str:
    command = run.environment.get("command")
    body = f"<pre><code>{escape(str(command))}</code></pre>" if command else ""
    body += "".join(soft(line) for line in _own_lines(run))
    body += "".join(map(table_html, own_tables(run)))
    title = f"<h3>{escape(run.name)}</h3><p>{escape(headline(run.results))}</p>"
    return title + folded("Command and tables", body)


def compare_markdown(runs: Sequence[Run]) -> str:
    """The whole of `tables.md`."""
    columns = columns_of(runs)
    found = [accuracy_table(columns, metric) for metric in METRICS]
    parts = [f"# {_title(runs)}\n", *(markdown(table) for table in found if table)]
    parts += [markdown(runs_table(columns))]
    for run in runs:
        parts += [f"## {plain(run.name)}\n", f"{plain(headline(run.results))}\n"]
        if command := run.environment.get("command"):
            parts += [f"    {' '.join(str(command).split())}\n"]
        parts += [f"{plain(line)}\n" for line in _own_lines(run)]
        parts += [markdown(table) for table in own_tables(run)]
    return "\n".join(parts)
