"""Results as sentences and as tables.

A table is one model of rows; Markdown, plain text and the page's HTML are renderings of it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from assl_jax.report.record import by_similarity, display, display_pool

DASH = "–"
Results = Mapping[str, Any]


class Cell(NamedTuple):
    text: str
    strong: bool = False


class Row(NamedTuple):
    """Cells, whether the row opens a group, and how the search judged it (or "")."""

    cells: tuple[Cell, ...]
    opens: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Table:
    """A caption, column heads and rows; the first `names` columns are text, the rest numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    names: int = 1


def percent(value: float | None, *, digits: int = 2) -> str:
    """A fraction of 1 as a percentage without its sign; a dash when there is none."""
    return _fixed(None if value is None else 100 * value, f".{digits}f")


def gain(value: float | None) -> str:
    """A difference of two fractions in signed percentage points."""
    return _fixed(None if value is None else 100 * value, "+.2f")


def mean_std(mean: float | None, std: float | None, *, digits: int = 2) -> str:
    """Mean ± standard deviation in percent.

    The mean alone when there is no deviation, or exactly 0: that of a single run.
    """
    texts = [percent(mean, digits=digits), percent(std or None, digits=digits)]
    return texts[0] if DASH in texts else " ± ".join(texts)


def _fixed(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return DASH
    text = format(value, form)
    # A loss of 0.001 points prints as no change, not as a negative zero.
    return text.replace("-", "+" if "+" in form else "") if float(text) == 0 else text


def _similar(value: float | None) -> str:
    return _fixed(value, ".4f")


def _winner(
    values: Iterable[float | None],
    form: Callable[[float | None], str],
    best: Callable[[Iterable[float]], float] = max,
) -> str | None:
    """The best value as printed; None when there is nothing to compare.

    Whoever prints the same wins too, so equal figures look equal.
    """
    numbers = [v for v in values if v is not None and math.isfinite(v)]
    return form(best(numbers)) if len({form(v) for v in numbers}) > 1 else None


def headline_table(results: Results) -> Table:
    """Scratch, every single task and the best pool: test accuracy, selection, gain over scratch.

    The best single and the best of all are strong.
    """
    scratch, best = results.get("scratch"), results.get("best")
    singles: Mapping[str, Any] = results.get("singles") or {}
    chosen = list(best["pool"]) if best else []
    entries: list[tuple[list[str], Mapping[str, Any]]] = [(["scratch"], scratch)] if scratch else []
    entries += [([task], single) for task, single in singles.items()]
    if best and chosen not in [pool for pool, _ in entries]:
        entries.append((chosen, best))
    columns = [("Test accuracy (%)", "accuracy", "std")]
    if results.get("select_on") == "cv":
        columns.append(("Selection, CV (%)", "selection", "selection_std"))
    base = scratch["accuracy"] if scratch else None

    groups = [list(singles.values()), [entry for _, entry in entries]]
    leaders = {
        key: [_winner([e.get(key) for e in group], percent) for group in groups]
        for _, key, _ in columns
    }
    rows = []
    for pool, entry in entries:
        cells = [Cell(display_pool(pool))]
        for _, key, spread in columns:
            value = entry.get(key)
            cells.append(Cell(mean_std(value, entry.get(spread)), percent(value) in leaders[key]))
        known = base is not None and entry is not scratch and entry.get("accuracy") is not None
        cells.append(Cell(gain(entry["accuracy"] - base if known else None)))
        rows.append(Row(tuple(cells), verdict="chosen" if pool == chosen else ""))
    with_labels = f" with {results['labels']:,} labels" if results.get("labels") else ""
    caption = f"Fine-tuning{with_labels}: mean ± standard deviation over repeated fine-tunings"
    heads = ("Pretraining", *(head for head, *_ in columns), "Gain over scratch")
    return Table(caption, heads, tuple(rows))


# Head, key, how a value prints, which one is best.
SEARCH_COLUMNS: tuple[tuple[str, str, Callable[..., str], Callable[..., float]], ...] = (
    ("Similarity", "similarity", _similar, min),
    ("Avg ACC", "avg", percent, max),
    ("Max ACC", "max", percent, max),
    ("MT-ASSL ACC", "accuracy", percent, max),
    ("Avg (+/-)", "avg_gain", gain, max),
    ("Max (+/-)", "max_gain", gain, max),
)
SELECTION_COLUMN = ("Selection (CV)", "selection", percent, max)


def search_table(results: Results) -> Table | None:
    """The search in the layout of the paper's Table 2; None where nothing was searched.

    Candidates stand in the order of their similarity to the pool; one that was not trained has
    dashes. The selection column is there when decisions are made on it.
    """
    iterations = results.get("iterations") or []
    if not iterations:
        return None
    columns = SEARCH_COLUMNS
    if results.get("select_on") == "cv":
        columns = (*columns, SELECTION_COLUMN)
    rows: list[Row] = []

    def add_group(entries: list[tuple[str, str, Mapping[str, Any], str]]) -> None:
        number = str(1 + sum(row.opens for row in rows))
        winners = [_winner([e.get(key) for *_, e, _ in entries], f, b) for _, key, f, b in columns]
        for i, (a1, a2, entry, verdict) in enumerate(entries):
            cells = [Cell(number if i == 0 else ""), Cell(a1), Cell(a2)]
            for (_, key, form, _), winner in zip(columns, winners, strict=True):
                text = form(entry[key]) if key in entry else ""
                cells.append(Cell(text, bool(text) and text == winner))
            rows.append(Row((*cells, Cell(verdict)), i == 0, verdict))

    start = list(iterations[0]["pool"])
    singles = results.get("singles") or {}
    add_group([(display(t), DASH, e, "start" if [t] == start else "") for t, e in singles.items()])
    for step in iterations:
        verdict = "accepted" if step.get("accepted") else "stopped"
        candidates = sorted(step["candidates"], key=by_similarity)
        a1s = [display_pool(step["pool"]), *[""] * len(candidates)]
        add_group(
            [
                (a1, display(c["task"]), c, verdict if c["task"] == step.get("chosen") else "")
                for a1, c in zip(a1s, candidates, strict=False)
            ]
        )
    caption = "MT-ASSL search: accuracies in %, candidates in the order of their similarity to A1"
    heads = ("Iter.", "A1", "A2", *(head for head, *_ in columns), "Decision")
    return Table(caption, heads, tuple(rows), names=3)


def similarity_table(results: Results) -> Table | None:
    """The matrix of similarities between the candidates' features, or None."""
    similarity = results.get("similarity") or {}
    if not similarity.get("tasks"):
        return None
    names = [display(task) for task in similarity["tasks"]]
    rows = [
        Row((Cell(name), *(Cell(_similar(v)) for v in values)))
        for name, values in zip(names, similarity["matrix"], strict=True)
    ]
    return Table(similarity_caption(similarity), ("", *names), tuple(rows))


def similarity_caption(similarity: Mapping[str, Any]) -> str:
    """What was compared: the estimator, the layer and the number of images."""
    parts = [f"{similarity['estimator']} estimator"] if similarity.get("estimator") else []
    parts += [f"layer {similarity['layer']}"] if similarity.get("layer") else []
    parts += [f"{similarity['n']:,} images"] if similarity.get("n") else []
    return "Similarity between features" + (f" ({', '.join(parts)})" if parts else "")


def _rounded(entry: Mapping[str, Any]) -> str:
    """An accuracy for a sentence, with one decimal."""
    text = mean_std(entry.get("accuracy"), entry.get("std"), digits=1)
    return "an unknown accuracy" if text == DASH else f"{text} %"


def headline(results: Results) -> str:
    """The outcome of a run in one sentence."""
    best, scratch = results.get("best"), results.get("scratch")
    labels, tested = results.get("labels"), results.get("test_images")
    setting = [f"{labels:,} labels"] if labels else []
    setting += [f"test set of {tested:,}"] if tested else []
    end = f" ({', '.join(setting)})" if setting else ""
    against = _rounded(scratch) if scratch else ""
    if not best:
        return f"Training from scratch: {against}{end}" if scratch else "No accuracy was measured"
    pool = display_pool(best["pool"])
    if results.get("experiment") == "mtassl":
        verb = "chose" if len(best["pool"]) > 1 else "kept"
        pool = f"Algorithm 1 {verb} {pool}" + ("" if len(best["pool"]) > 1 else " alone")
    outcome = f"{pool}: {_rounded(best)}"
    return outcome + (f" against {against} from scratch" if scratch else "") + end


def selection_warning(results: Results) -> str | None:
    """A line for every report whose selection has seen the test set, or None."""
    if results.get("select_on") != "test":
        return None
    return (
        'The selection has seen the test set (select_on="test"): '
        "the accuracies of chosen tasks and pools are optimistic."
    )


def search_trace(results: Results) -> list[str]:
    """The search, one sentence per step: what was least similar, what it gave, what followed.

    Accuracies are those that the decision was made on.
    """
    iterations = results.get("iterations") or []
    if not iterations:
        return []
    on_test = results.get("select_on") == "test"
    key, kind = ("accuracy", "on the test set") if on_test else ("selection", "in cross-validation")

    def of(entry: Mapping[str, Any]) -> str:
        text = percent(entry.get(key))
        return "an unknown accuracy" if text == DASH else f"{text} %"

    singles = results.get("singles") or {}
    start = list(iterations[0]["pool"])
    current: Mapping[str, Any] = singles.get(start[0], {}) if len(start) == 1 else {}
    lines = [f"{display_pool(start)} starts the pool: the best single task, {of(current)} {kind}."]
    for step in iterations:
        chosen = next((c for c in step["candidates"] if c["task"] == step.get("chosen")), None)
        if chosen is None:
            lines.append(f"{display_pool(step['pool'])}: no candidate was trained; stopped.")
            continue
        pool = [*step["pool"], chosen["task"]]
        similarity = chosen.get("similarity")
        value = "" if similarity is None else f" (similarity {similarity:.4f})"
        accepted = step.get("accepted")
        outcome = (
            f"not below {of(current)}, so it was accepted."
            if accepted
            else f"below {of(current)}, so the search stopped."
        )
        lines.append(
            f"{display(chosen['task'])} was least similar to {display_pool(step['pool'])}{value}. "
            f"{display_pool(pool)} reached {of(chosen)} {kind}, {outcome}"
        )
        current = chosen if accepted else current
    if iterations[-1].get("accepted") and len(iterations[-1]["candidates"]) == 1:
        lines.append("No candidate was left.")
    return lines


def markdown(table: Table) -> str:
    """A table as GitHub-flavoured Markdown, its caption above it."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cell(cell: Cell) -> str:
        return f"**{_plain(cell.text)}**" if cell.strong else _plain(cell.text)

    rule = ["---"] * table.names + ["---:"] * (len(table.columns) - table.names)
    lines = [line(map(_plain, table.columns)), line(rule)]
    lines += [line(cell(c) for c in row.cells) for row in table.rows]
    return f"{_plain(table.caption)}\n\n" + "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text in which Markdown sees nothing but text."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*|<>[]" else c for c in text)


def text_lines(table: Table) -> list[str]:
    """A table as aligned plain text."""
    grid = [table.columns, *(tuple(c.text for c in row.cells) for row in table.rows)]
    widths = [max(len(text) for text in column) for column in zip(*grid, strict=True)]
    lines = []
    for texts in grid:
        cells = [
            text.ljust(width) if i < table.names else text.rjust(width)
            for i, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def render_markdown(results: Results) -> str:
    """The whole of `tables.md`."""
    warning = selection_warning(results)
    tables = [headline_table(results), search_table(results), similarity_table(results)]
    steps = [f"{i}. {_plain(step)}\n" for i, step in enumerate(search_trace(results), start=1)]
    parts = [f"# {_plain(headline(results))}\n"]
    parts += [f"> **{warning}**\n"] if warning else []
    parts += [markdown(table) for table in tables if table]
    parts += ["".join(steps)] if steps else []
    return "\n".join(parts)


def summary_lines(results: Results) -> list[str]:
    """What a run prints at its end: the outcome, an aligned table, the search in words."""
    warning = selection_warning(results)
    lines = [headline(results), *([warning] if warning else []), ""]
    lines += text_lines(headline_table(results))
    trace = search_trace(results)
    return lines + (["", *trace] if trace else [])
