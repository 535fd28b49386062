"""The report as one HTML page that needs nothing but itself."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from assl_jax.report import figures, planes, tables
from assl_jax.report.attention import attention_section
from assl_jax.report.confusion import class_names, confusion_chart, confusions, shares
from assl_jax.report.curves import training_curves
from assl_jax.report.html import (
    chart_html,
    document,
    facts_html,
    flattened,
    folded,
    scroll,
    section,
    soft,
    table_html,
)
from assl_jax.report.metrics_table import decides, metrics_table
from assl_jax.report.pairs import correlation_lines, pairs_table
from assl_jax.report.pairs_chart import pairs_chart
from assl_jax.report.record import RunRecord, TaskExamples, capital, display, display_backbone
from assl_jax.report.self_assl import guard_table, self_assl_lines, self_assl_table
from assl_jax.report.self_assl_charts import curve_backbones, self_assl_chart, self_assl_curves
from assl_jax.report.table import percent

SHOWN = {
    "src": "Overlapping tiles along a sampling route; the network names the route.",
    "mcpc": "Tiles along a sampling route; the last one's features are predicted from the others'.",
    "sc_assl": "Tiles along a sampling route, for the route and the prediction at once.",
    "rotation": "Rotated copies; the network names the rotation.",
    "jigsaw": "Tiles in a shuffled order; the network names the permutation.",
    "inpaint": "An image with a part masked out; the network fills it in.",
    "simclr": "Two random views; the network tells the pair from the other images' views.",
    "cpc": "Overlapping patches; from those above, the features of the patches below are "
    "predicted.",
    "models_genesis": "A shuffled, recoloured and partly painted-over copy; the network restores "
    "the original.",
    "rubiks_cube": "Shuffled and half-turned cubes; the network names the permutation and the "
    "turns.",
}
PLANES = (
    "A volume is shown as its three middle slices: axial, coronal, sagittal, from top to bottom; "
    "a short axis is stretched."
)
BESIDE = "Beside the paper's printed values, which are of other data"


def render_page(run: RunRecord) -> str:
    """The whole of `index.html`; a part without material is left out."""
    results = run.results
    headline = tables.headline(results)
    facts = [("experiment", "{}"), ("data", "data {}"), ("seed", "seed {}")]
    subtitle = " · ".join(form.format(results[k]) for k, form in facts if k in results)
    warning = tables.selection_warning(results)
    body = [
        f'<p class="soft">{escape(subtitle)}</p><h1>{escape(headline)}</h1>',
        f'<p class="warning" role="note">{escape(warning)}</p>' if warning else "",
        section(escape(capital(decides(results) or "accuracy")), _accuracy(results)),
        section("Pairs", _pairs(results)),
        section("Self-ASSL", _self_assl(results)),
        section("Self-ASSL over training", _self_assl_curves(run)),
        section("Metrics", _metrics(results)),
        section("Search", _search(results)),
        section("Similarity of features", _similarity(results)),
        section("Where the network looks", attention_section(run.attention)),
        section("What each task shows the network", _examples(run.examples)),
        section("Training curves", _curves(run)),
        section("Time", _time(run)),
        section("Files left out", _skipped(results)),
        section("Settings and environment", _settings(run)),
    ]
    return document(headline, body)


def _accuracy(results: Mapping[str, Any]) -> str:
    table = tables.headline_table(results)
    said = "; ".join(f"{row.cells[0].text} {row.cells[1].text}" for row in table.rows)
    what = decides(results) or "accuracies"
    chart = chart_html(figures.accuracy_chart(results), f"Dot chart of test {what} in %: {said}")
    return chart + table_html(table) if table.rows else ""


def _metrics(results: Mapping[str, Any]) -> str:
    """Every metric with its interval, and the confusion matrices."""
    said = []
    for name, counts in confusions(results).items():
        names = class_names(results, len(counts))
        right = zip(names, shares(counts).diagonal(), strict=True)
        said.append(f"{name}: {', '.join(f'{c} {percent(s, digits=0)} % right' for c, s in right)}")
    chart = chart_html(confusion_chart(results), f"Confusion matrices. {'; '.join(said)}")
    note = "Confusions in the test set: images, mean of the runs. Shade: share of the true class."
    return table_html(metrics_table(results)) + (chart + soft(note) if chart else "")


def _search(results: Mapping[str, Any]) -> str:
    trace = "".join(f"<li>{escape(step)}</li>" for step in tables.search_trace(results))
    return table_html(tables.search_table(results)) + (f"<ol>{trace}</ol>" if trace else "")


def _pairs(results: Mapping[str, Any]) -> str:
    """Similarity against gain, and Table 1; what the paper printed is folded away."""
    lines = correlation_lines(results)
    alt = f"Scatter plots of gain over similarity, one dot per pair. {' '.join(lines)}"
    body = chart_html(pairs_chart(results), alt) + "".join(map(_paragraph, lines))
    beside = table_html(pairs_table(results, printed_too=True))
    return body + table_html(pairs_table(results)) + folded(BESIDE, beside)


def _self_assl(results: Mapping[str, Any]) -> str:
    """Table 4, and what guards against shortcuts; what the paper printed is folded away."""
    table = self_assl_table(results)
    if table is None:
        return ""
    said = "; ".join(" ".join(cell.text for cell in row.cells[:5]) for row in table.rows)
    chart = chart_html(self_assl_chart(results), f"Dot chart of test accuracies in %: {said}")
    lines = "".join(map(_paragraph, self_assl_lines(results)))
    beside = folded(BESIDE, table_html(self_assl_table(results, printed_too=True)))
    return chart + lines + table_html(table) + table_html(guard_table(results)) + beside


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _self_assl_curves(run: RunRecord) -> str:
    body = ""
    for backbone in curve_backbones(run.metrics):
        name = display_backbone(backbone)
        alt = f"Line charts over steps of Self-ASSL {name}: penalty, similarities, effective rank"
        body += f"<h3>{escape(name)}</h3>" if name else ""
        body += chart_html(self_assl_curves(run.metrics, backbone), alt)
    note = (
        "In colour: Self-ASSL. Dotted: the second run without the penalty. Penalty and mini-batch "
        "similarity are as logged, and their moving mean; the others of held-out images."
    )
    return body + soft(note) if body else ""


def _similarity(results: Mapping[str, Any]) -> str:
    similarity = results.get("similarity") or {}
    table = tables.similarity_table(results)
    if table is None:
        return ""
    numbers = f"<details><summary>The numbers</summary>{table_html(table)}</details>"
    note = f'<p class="soft">{escape(table.caption)}. Less similar means more complementary.</p>'
    alt = f"Heat map. {table.caption}: {', '.join(table.columns[1:])}; the numbers are below"
    return chart_html(figures.similarity_heatmap(similarity), alt) + note + numbers


def _examples(examples: Mapping[str, TaskExamples]) -> str:
    volumes = any(shown.originals.ndim == 5 for shown in examples.values())
    parts = [f'<p class="soft">{PLANES}</p>' if volumes else ""]
    for task, shown in examples.items():
        parts.append(f"<h3>{escape(display(task))}</h3>")
        number = _number_of_views(shown.inputs[0])
        few = f"{number} are shown." if " of " in number else ""
        words = f"{SHOWN.get(task, '')} {few}".strip()
        parts.append(f'<p class="soft">{words}</p>' if words else "")
        parts += [_example(task, *one) for one in zip(*shown, strict=True)]
    return "".join(parts)


def _number_of_views(views: np.ndarray) -> str:
    few, number = len(planes.shown(views)), len(views)
    if few < number:
        return f"{few} of {number} views"
    return "1 view" if number == 1 else f"{number} views"


def _example(task: str, image: np.ndarray, views: np.ndarray, caption: str) -> str:
    original, strip = figures.example_images(image, views)
    alt = f"{display(task)}, {_number_of_views(views)}" + (f": {caption}" if caption else "")
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    arrow, shown = '<span aria-hidden="true">→</span>', _png(strip, alt)
    if image.ndim == 3:
        first, kind = _png(original, "Original image"), "example"
    else:
        first, kind = _png(original, "Original volume"), "example volume"
        shown = scroll(shown, "Views")
    return f'<figure class="{kind}">{first}{arrow}{shown}{words}</figure>'


def _png(data: str, alt: str) -> str:
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'


def _curves(run: RunRecord) -> str:
    """The proxy tasks' losses; their accuracies and the fine-tuning's curves folded away."""
    stages = {"pretrain": "proxy tasks", "finetune": "fine-tuning"}
    body = ""
    for kind, name in stages.items():
        for quantity, plural in {"loss": "losses", "accuracy": "training accuracies"}.items():
            figure = training_curves(run.metrics, kind=kind, quantity=quantity)
            alt = f"Line charts over steps: {plural} of the {name}, one per pool"
            chart = chart_html(figure, alt)
            title = f"{plural} of the {name}".capitalize()
            body += folded(title, chart) if body else chart
    note = "Losses of the proxy tasks. Faint: as logged. Solid: moving mean."
    return body + soft(note) if body else ""


def _time(run: RunRecord) -> str:
    """The time of every stage; its memory and throughput folded away."""
    seconds = sum(stage.get("seconds") or 0.0 for stage in run.stages)
    alt = f"Bar chart of the time per stage; {seconds:,.0f} seconds in {len(run.stages)} stages"
    table = table_html(tables.stages_table(run.stages))
    return chart_html(figures.time_chart(run.stages), alt) + folded("Time and memory", table)


def _skipped(results: Mapping[str, Any]) -> str:
    files = results.get("skipped") or []
    items = "".join(f"<li>{escape(str(file))}</li>" for file in files)
    opened = " open" if len(files) <= 10 else ""
    word = "file" if len(files) == 1 else "files"
    summary = f"<summary>{len(files):,} {word}, with reasons</summary>"
    return f"<details{opened}>{summary}<ul>{items}</ul></details>" if files else ""


def _settings(run: RunRecord) -> str:
    environment = dict(run.environment)
    command = environment.pop("command", None)
    body = f"<pre><code>{escape(str(command))}</code></pre>" if command else ""
    body += facts_html(environment)
    if backbone := (run.results.get("best") or {}).get("backbone"):
        body += f"<p>Weights of the backbone: <code>{escape(str(backbone))}</code></p>"
    if run.config:
        summary = "<summary>All settings</summary>"
        body += f"<details>{summary}{facts_html(flattened(run.config))}</details>"
    return body
