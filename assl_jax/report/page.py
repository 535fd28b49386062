"""The report of a run as one HTML page."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from assl_jax.records import BACKBONE_FOLDER, DataSummary, LogRecord, Results, flat_settings
from assl_jax.report import figures, forms, glyphs, planes, tables
from assl_jax.report.attention import attention_grid
from assl_jax.report.before import data_table
from assl_jax.report.confusion import confusion_chart, confusions, shares
from assl_jax.report.curves import training_curves
from assl_jax.report.embedding import embedding_chart, neighbours
from assl_jax.report.evaluations import kept, named_metric, test_set
from assl_jax.report.html import Chart, Picture, render
from assl_jax.report.metrics_table import metrics_table
from assl_jax.report.names import backbone_title, capitalised, task_title
from assl_jax.report.pairs import COLUMNS, correlation_lines, pairs_table
from assl_jax.report.pairs_chart import pairs_chart
from assl_jax.report.record import RunRecord, TaskExamples
from assl_jax.report.self_assl import guard_table, self_assl_lines, self_assl_table
from assl_jax.report.self_assl_charts import curve_backbones, self_assl_chart, self_assl_curves
from assl_jax.report.sentences import headline, outcome_lines, search_trace, warnings
from assl_jax.tasks import describe

PLANES = (
    "A volume is shown as its three middle slices: axial, coronal, sagittal, from top to bottom; "
    "a short axis is stretched."
)
WITH_PAPER = "Next to the paper's printed values, measured on other data"
# Logged values that have curves, with their titles, by the kind of stage.
CURVES = {
    "pretrain": {
        "loss": "losses of the proxy tasks",
        "accuracy": "training accuracies of the proxy tasks",
        "knn_accuracy": "nearest-neighbour accuracies (k-NN) during pretraining, on labelled "
        "images of the run that pretrained",
        "effective_rank": "effective ranks of the features during pretraining",
    },
    "finetune": {
        "loss": "losses of the fine-tuning",
        "accuracy": "training accuracies of the fine-tuning",
    },
}
CONFUSIONS = (
    "Confusions in the test set: numbers of images, mean over the runs. Shade: share of the true "
    "class"
)
MAP = "Map of the features (t-SNE)"
HOW_TO_READ = (
    "The pretraining has not seen them. Images close together have similar features; distances "
    "between groups and directions have no meaning."
)
NEIGHBOURS = (
    "Test images, and those with the most similar features (cosine), the nearest first. The name "
    "of another class is bold."
)
OTHERS = "Images of the same patient are left out."
OPEN = 10  # up to so many skipped files are listed without a click


def render_page(run: RunRecord) -> str:
    """The whole of `index.html`; a section without material is left out."""
    results = run.results
    return render(
        "run.html.j2",
        title=headline(results),
        subtitle=f"{results.experiment} · data {results.data} · seed {results.seed}",
        warnings=warnings(results),
        with_paper=WITH_PAPER,
        overview=_overview(results),
        pairs=_pairs(results),
        self_assl=_self_assl(run),
        metrics=_metrics(results),
        search=_search(results),
        similarity=_similarity(results),
        embedding=_embedding(run),
        grid=attention_grid(run.attention),
        examples=_examples(run.examples),
        training=_training(run.metrics),
        time=_time(run),
        images=_images(results.images),
        skipped=_skipped(results.skipped),
        environment=_environment(run),
    )


def _overview(results: Results) -> dict[str, Any]:
    table, metric = tables.headline_table(results), named_metric(results)
    rows = table.rows if table else ()
    values = "; ".join(f"{row.cells[0].text} {row.cells[1].text}" for row in rows)
    alt = f"Dot chart of test {metric or 'accuracies'} in %: {values}"
    return {
        "title": capitalised(metric or "accuracy"),
        "chart": Chart(figures.accuracy_chart(results), alt),
        "table": table,
        "lines": outcome_lines(results),
    }


def _search(results: Results) -> dict[str, Any]:
    table = tables.search_table(results)
    return {"table": table, "key": COLUMNS if table else "", "steps": search_trace(results)}


def _pairs(results: Results) -> dict[str, Any]:
    lines = correlation_lines(results)
    alt = f"Scatter plots of gain over similarity, one dot per pair. {' '.join(lines)}"
    table = pairs_table(results)
    return {
        "chart": Chart(pairs_chart(results), alt),
        "lines": lines,
        "table": table,
        "key": COLUMNS if table else "",
        "with_paper": pairs_table(results, with_paper=True),
    }


def _self_assl(run: RunRecord) -> dict[str, Any]:
    results = run.results
    table = self_assl_table(results)
    rows = table.rows if table else ()
    values = "; ".join(" ".join(cell.text for cell in row.cells[:5]) for row in rows)
    alt = f"Dot chart of test accuracies in %: {values}"
    return {
        "chart": Chart(self_assl_chart(results), alt),
        "lines": self_assl_lines(results),
        "table": table,
        "guards": guard_table(results),
        "with_paper": self_assl_table(results, with_paper=True),
        "curves": [
            (backbone_title(backbone), _self_assl_curves(run.metrics, backbone))
            for backbone in curve_backbones(run.metrics)
        ],
    }


def _self_assl_curves(metrics: list[LogRecord], backbone: str) -> Chart:
    words = f"Self-ASSL {backbone_title(backbone)}: penalty, similarities, effective rank"
    return Chart(self_assl_curves(metrics, backbone), f"Line charts over steps of {words}")


def _metrics(results: Results) -> dict[str, Any]:
    parts = []
    for title, counts in confusions(results).items():
        right = zip(results.classes, shares(counts).diagonal(), strict=True)
        words = [f"{name} {forms.percent(share, digits=0)} % right" for name, share in right]
        parts.append(f"{title}: {', '.join(words)}")
    alt = f"Confusion matrices. {'; '.join(parts)}"
    return {
        "table": metrics_table(results),
        "confusion": Chart(confusion_chart(results), alt),
        "note": f"{CONFUSIONS} ({test_set(results)}).",
        "key": _key(results),
    }


def _key(results: Results) -> str:
    """What the numbers of classes in charts mean; "" if charts have the names."""
    key = glyphs.key(results.classes)
    return f"Classes: {key}." if key else ""


def _similarity(results: Results) -> dict[str, Any]:
    table = tables.similarity_table(results.similarity)
    words = f"{table.caption}: {', '.join(table.columns[1:])}" if table else ""
    alt = f"Heat map. {words}; the numbers are below"
    return {"chart": Chart(figures.similarity_heatmap(results.similarity), alt), "table": table}


def _embedding(run: RunRecord) -> dict[str, Any]:
    shown, results = run.embedding, run.results
    label = kept(results)
    title = label.title if label else ""
    n = len(shown.points) if shown else 0
    rows = neighbours(shown, results.classes)
    volumes = shown is not None and shown.images.ndim == 6
    return {
        "chart": Chart(embedding_chart(shown, results.classes), f"{MAP} of {title}: {n} images"),
        "note": f"{MAP} of {title}: {n:,} of {test_set(results)}. {HOW_TO_READ}",
        "key": _key(results),
        "neighbours": rows,
        "about": " ".join(
            [NEIGHBOURS, *([OTHERS] if results.patients else []), *([PLANES] if volumes else [])]
        ),
        "kind": "example volume" if volumes else "example",
    }


class _Example(NamedTuple):
    """An image and its views as pictures."""

    original: Picture
    views: Picture
    caption: str


def _examples(examples: Mapping[str, TaskExamples]) -> dict[str, Any]:
    volumes = any(shown.originals.ndim == 5 for shown in examples.values())
    return {
        "note": PLANES if volumes else "",
        "tasks": [_task_examples(task, shown) for task, shown in examples.items()],
    }


def _task_examples(task: str, shown: TaskExamples) -> dict[str, Any]:
    volumes = shown.originals.ndim == 5
    number = _number_of_views(shown.inputs[0])
    few = f"{number} are shown." if " of " in number else ""
    examples = []
    for image, views, caption in zip(*shown, strict=True):
        original, strip = figures.example_images(image, views)
        alt = f"{task_title(task)}, {number}" + (f": {caption}" if caption else "")
        what = "Original volume" if volumes else "Original image"
        examples.append(_Example(Picture(original, what), Picture(strip, alt), caption))
    return {
        "title": task_title(task),
        "words": f"{describe(task).summary} {few}".strip(),
        "kind": "example volume" if volumes else "example",
        "volumes": volumes,
        "examples": examples,
    }


def _number_of_views(views: np.ndarray) -> str:
    few, number = len(planes.shown(views)), len(views)
    if few < number:
        return f"{few} of {number} views"
    return "1 view" if number == 1 else f"{number} views"


def _training(metrics: list[LogRecord]) -> list[tuple[str, Chart]]:
    """Titles and charts of the curves; the first one, losses of the proxy tasks, is not folded."""
    charts = []
    for kind, quantities in CURVES.items():
        for quantity, words in quantities.items():
            svg = training_curves(metrics, kind=kind, quantity=quantity)
            chart = Chart(svg, f"Line charts over steps: {words}, one per pool")
            charts += [(capitalised(words), chart)] if svg else []
    return charts


def _time(run: RunRecord) -> dict[str, Any]:
    seconds = sum(stage.seconds for stage in run.stages)
    alt = f"Bar chart of the time per stage; {seconds:,.0f} seconds in {len(run.stages)} stages"
    return {
        "chart": Chart(figures.time_chart(run.stages), alt),
        "table": tables.stages_table(run.stages),
    }


def _images(found: DataSummary | None) -> dict[str, Any]:
    return {"table": found and data_table(found), "notes": found.notes if found else ()}


def _skipped(files: tuple[str, ...]) -> dict[str, Any] | None:
    number = f"{len(files):,} {'file' if len(files) == 1 else 'files'}"
    summary = f"{number}, with reasons"
    return {"files": files, "summary": summary, "open": len(files) <= OPEN} if files else None


def _environment(run: RunRecord) -> dict[str, Any]:
    best = run.results.best
    return {
        "command": run.environment.get("command", ""),
        "facts": {k: v for k, v in run.environment.items() if k != "command"},
        "backbone": BACKBONE_FOLDER if best and not best.scratch else "",
        "settings": flat_settings(run.config),
    }
