"""Results as tables.

A table is one model of rows; Markdown, plain text and the page's HTML are renderings of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assl_jax.report.metrics_table import (
    Entry,
    Results,
    decided_on,
    decides,
    metric_lines,
    metrics_table,
    score,
    tested,
)
from assl_jax.report.pairs import correlation_lines, pairs_table
from assl_jax.report.record import (
    by_similarity,
    capital,
    display,
    display_label,
    display_pool,
)
from assl_jax.report.self_assl import guard_table, self_assl_lines, self_assl_table
from assl_jax.report.sentences import headline, search_trace, selection_warning
from assl_jax.report.table import (
    DASH,
    Cell,
    Row,
    Table,
    gain,
    markdown,
    mean_std,
    percent,
    plain,
    similar,
    text_lines,
    winner,
)


def headline_table(results: Results) -> Table:
    """Scratch, every single task and the best pool: test accuracy, selection, gain over scratch.

    Where the search decides on another metric, that one stands for the accuracy. The best single
    and the best of all are strong.
    """
    entries, metric = tested(results), decides(results)
    chosen = list((results.get("best") or {}).get("pool") or [])
    singles: Mapping[str, Any] = results.get("singles") or {}
    columns: list[tuple[str, Callable[[Entry], tuple[Any, Any]]]] = [
        (f"Test {metric or 'accuracy'} (%)", lambda entry: score(results, entry))
    ]
    selected = any(entry.get("selection") is not None for _, entry in entries)
    if results.get("select_on") == "cv" and selected:
        head = f"Selection by {metric}, CV (%)" if metric else "Selection, CV (%)"
        columns.append((head, lambda entry: (entry.get("selection"), entry.get("selection_std"))))
    scratch = results.get("scratch")
    base = score(results, scratch)[0] if scratch else None

    groups = [list(singles.values()), [entry for _, entry in entries]]
    leaders = [
        [winner([of(e)[0] for e in group], percent) for group in groups] for _, of in columns
    ]
    rows = []
    for pool, entry in entries:
        cells = [Cell(display_pool(pool))]
        for (_, of), best in zip(columns, leaders, strict=True):
            mean, std = of(entry)
            cells.append(Cell(mean_std(mean, std), percent(mean) in best))
        mean, _ = score(results, entry)
        known = base is not None and entry is not scratch and mean is not None
        cells.append(Cell(gain(mean - base if known else None)))
        rows.append(Row(tuple(cells), verdict="chosen" if pool == chosen else ""))
    with_labels = f" with {results['labels']:,} labels" if results.get("labels") else ""
    caption = f"Fine-tuning{with_labels}: mean ± standard deviation over repeated fine-tunings"
    heads = ("Pretraining", *(head for head, _ in columns), "Gain over scratch")
    return Table(caption, heads, tuple(rows))


# Head, key, how a value prints, which one is best.
SEARCH_COLUMNS: tuple[tuple[str, str, Callable[..., str], Callable[..., float]], ...] = (
    ("Similarity", "similarity", similar, min),
    ("Avg ACC", "avg", percent, max),
    ("Max ACC", "max", percent, max),
    ("MT-ASSL ACC", "accuracy", percent, max),
    ("Avg (+/-)", "avg_gain", gain, max),
    ("Max (+/-)", "max_gain", gain, max),
)


def search_table(results: Results) -> Table | None:
    """The search in the layout of the paper's Table 2; None where nothing was searched.

    Candidates stand in the order of their similarity to the pool; one that was not trained has
    dashes. What decisions are made on has a column where it is not the test accuracy.
    """
    iterations = results.get("iterations") or []
    if not iterations:
        return None
    columns, metric = SEARCH_COLUMNS, decides(results)
    if results.get("select_on") == "cv":
        columns = (*columns, (f"{capital(metric or 'selection')} (CV)", "decided", percent, max))
    elif metric:
        columns = (*columns, (f"{capital(metric)} (test)", "decided", percent, max))
    rows: list[Row] = []

    def add_group(entries: list[tuple[str, str, Mapping[str, Any], str]]) -> None:
        entries = [
            (a1, a2, {**entry, "decided": decided_on(results, entry)}, verdict)
            for a1, a2, entry, verdict in entries
        ]
        number = str(1 + sum(row.opens for row in rows))
        leaders = [winner([e.get(key) for *_, e, _ in entries], f, b) for _, key, f, b in columns]
        for i, (a1, a2, entry, verdict) in enumerate(entries):
            cells = [Cell(number if i == 0 else ""), Cell(a1), Cell(a2)]
            for (_, key, form, _), leader in zip(columns, leaders, strict=True):
                text = form(entry[key]) if key in entry else ""
                cells.append(Cell(text, bool(text) and text == leader))
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
    caption += f"; decided by {metric}" if metric else ""
    heads = ("Iter.", "A1", "A2", *(head for head, *_ in columns), "Decision")
    return Table(caption, heads, tuple(rows), names=3)


def similarity_table(results: Results) -> Table | None:
    """The matrix of similarities between the candidates' features, or None."""
    similarity = results.get("similarity") or {}
    if not similarity.get("tasks"):
        return None
    names = [display(task) for task in similarity["tasks"]]
    rows = [
        Row((Cell(name), *(Cell(similar(v)) for v in values)))
        for name, values in zip(names, similarity["matrix"], strict=True)
    ]
    return Table(similarity_caption(similarity), ("", *names), tuple(rows))


def similarity_caption(similarity: Mapping[str, Any]) -> str:
    """What was compared: the estimator, the layer and the number of images."""
    parts = [f"{similarity['estimator']} estimator"] if similarity.get("estimator") else []
    parts += [f"layer {similarity['layer']}"] if similarity.get("layer") else []
    parts += [f"{similarity['n']:,} images"] if similarity.get("n") else []
    return "Similarity between features" + (f" ({', '.join(parts)})" if parts else "")


GIB = 2**30
# Head, key, the unit that is 1, how a value prints.
STAGE_COLUMNS = (
    ("Time (s)", "seconds", 1, ",.1f"),
    ("Images/s", "images_per_s", 1, ",.0f"),
    ("Peak host memory (GiB)", "peak_host_bytes", GIB, ".2f"),
    ("Peak device memory (GiB)", "peak_device_bytes", GIB, ".2f"),
)


def stages_table(stages: Sequence[Mapping[str, Any]]) -> Table | None:
    """Time, throughput and peak memory of each stage, in the order they ran; None without any.

    What was not measured is a dash; a quantity that no stage has, as device memory on a CPU, has no
    column.
    """
    columns = [c for c in STAGE_COLUMNS if any(stage.get(c[1]) is not None for stage in stages)]
    if not columns:
        return None
    rows = []
    for stage in stages:
        cells = [Cell(display_label(stage["label"])), Cell(stage["kind"])]
        for _, key, unit, form in columns:
            value = stage.get(key)
            cells.append(Cell(DASH if value is None else format(value / unit, form)))
        rows.append(Row(tuple(cells)))
    caption = "Stages; the memory is that of the whole process while a stage ran"
    return Table(caption, ("Network", "Stage", *(c[0] for c in columns)), tuple(rows), names=2)


def render_markdown(results: Results) -> str:
    """The whole of `tables.md`."""
    warning = selection_warning(results)
    notes = [correlation_lines(results), self_assl_lines(results)]
    tables = [
        headline_table(results),
        metrics_table(results),
        search_table(results),
        pairs_table(results),
        self_assl_table(results),
        guard_table(results),
        similarity_table(results),
    ]
    steps = [f"{i}. {plain(step)}\n" for i, step in enumerate(search_trace(results), start=1)]
    parts = [f"# {plain(headline(results))}\n"]
    parts += [f"> **{warning}**\n"] if warning else []
    parts += ["\n".join(map(plain, lines)) + "\n" for lines in notes if lines]
    parts += [markdown(table) for table in tables if table and table.rows]
    parts += ["".join(steps)] if steps else []
    return "\n".join(parts)


def summary_lines(results: Results) -> list[str]:
    """What a run prints at its end: the outcome, aligned tables, the search in words.

    Intervals are printed for small test sets and for metrics other than the accuracy.
    """
    warning = selection_warning(results)
    lines = [headline(results), *([warning] if warning else [])]
    tables = [
        headline_table(results),
        pairs_table(results, both=False),
        self_assl_table(results),
        guard_table(results),
    ]
    parts = [text_lines(table) for table in tables if table and table.rows]
    parts += [correlation_lines(results), self_assl_lines(results)]
    parts += [metric_lines(results), search_trace(results)]
    for part in parts:
        lines += ["", *part] if part else []
    return lines
