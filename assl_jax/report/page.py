"""The report as one HTML page that needs nothing but itself."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from assl_jax.report import figures, planes, tables
from assl_jax.report.confusion import class_names, confusion_chart, confusions, shares
from assl_jax.report.metrics import decides, metrics_table
from assl_jax.report.record import RunRecord, TaskExamples, capital, display
from assl_jax.report.table import Table, percent

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #5f6368; --line: #dadce0;
  --paper: #ffffff; --panel: #f6f7f8; --yes: #e3f1ea; --no: #fbeae1; --warn: #8a3b00;
  --warnpaper: #fff1e5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a6abb1; --line: #3f4347;
  --paper: #17181a; --panel: #222427; --yes: #1e3a2d; --no: #45291a; --warn: #ffc59a;
  --warnpaper: #3a2413; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: clamp(1.25rem, 3.6vw, 1.75rem); line-height: 1.3; margin: .25rem 0 1rem;
  text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 3rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
ol { max-width: 46rem; padding-left: 1.4rem; } li { margin: .35rem 0; }
.soft, caption, figcaption { color: var(--soft); font-size: .875rem; }
.warning { border-left: 4px solid var(--warn); background: var(--warnpaper); color: var(--warn);
  padding: .6rem .9rem; font-weight: 600; max-width: none; }
.wide { overflow-x: auto; margin: 0 0 1rem; }
.chart { background: #ffffff; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
.chart img { display: block; max-width: 100%; min-width: 34rem; height: auto; margin: 0 auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
thead th { white-space: normal; border-bottom: 2px solid var(--line); }
.name { text-align: left; } tbody .name { font-weight: inherit; }
tr.opens > * { border-top: 1px solid var(--line); }
tr.accepted, tr.start, tr.chosen { background: var(--yes); } tr.stopped { background: var(--no); }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts th { text-align: left; font-weight: 400; color: var(--soft); vertical-align: top; }
.example { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .8rem; margin: .5rem 0; }
.example img { height: 4.5rem; max-width: 100%; object-fit: contain; image-rendering: pixelated; }
.example figcaption { flex-basis: 100%; }
.volume { display: grid; grid-template-columns: auto auto minmax(0, 1fr); }
.volume img { height: 12rem; max-width: none; display: block; } .volume .wide { margin: 0; }
.volume figcaption { grid-column: 1 / -1; }
details { margin: .5rem 0 1rem; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
pre { background: var(--panel); padding: .8rem; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .85rem; }
"""

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
        _section(escape(capital(decides(results) or "accuracy")), _accuracy(results)),
        _section("Metrics", _metrics(results)),
        _section("Search", _search(results)),
        _section("Similarity of features", _similarity(results)),
        _section("What each task shows the network", _examples(run.examples)),
        _section("Training curves", _curves(run)),
        _section("Time", _chart(figures.time_chart(run.stages), _time_alt(run))),
        _section("Files left out", _skipped(results)),
        _section("Settings and environment", _settings(run)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(headline)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>" if body else ""


def _scroll(inner: str, label: str, kind: str = "") -> str:
    """A region that scrolls sideways on a narrow screen, with the keyboard too."""
    name = escape(label)
    return f'<div class="wide {kind}" role="region" aria-label="{name}" tabindex="0">{inner}</div>'


def _chart(svg: str, alt: str) -> str:
    """An SVG as an image of its own: its ids cannot meet another chart's."""
    if not svg:
        return ""
    data = base64.b64encode(svg.encode()).decode("ascii")
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">'
    return _scroll(image, "Chart", "chart")


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    heads = "".join(
        f'<th scope="col"{_name_class(i, table)}>{escape(c)}</th>'
        for i, c in enumerate(table.columns)
    )
    rows = []
    for row in table.rows:
        cells = []
        for i, cell in enumerate(row.cells):
            text = f"<strong>{escape(cell.text)}</strong>" if cell.strong else escape(cell.text)
            kind = _name_class(i, table)
            head = i == table.names - 1
            cells.append(f'<th scope="row"{kind}>{text}</th>' if head else f"<td{kind}>{text}</td>")
        css = f"{'opens ' if row.opens else ''}{row.verdict}".strip()
        rows.append(f'<tr class="{css}">{"".join(cells)}</tr>')
    caption = f"<caption>{escape(table.caption)}</caption>"
    body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return _scroll(f"<table>{caption}{body}</table>", table.caption)


def _name_class(column: int, table: Table) -> str:
    return ' class="name"' if column < table.names else ""


def _accuracy(results: Mapping[str, Any]) -> str:
    table = tables.headline_table(results)
    said = "; ".join(f"{row.cells[0].text} {row.cells[1].text}" for row in table.rows)
    what = decides(results) or "accuracies"
    chart = _chart(figures.accuracy_chart(results), f"Dot chart of test {what} in %: {said}")
    return chart + _table(table) if table.rows else ""


def _metrics(results: Mapping[str, Any]) -> str:
    """Every metric with its interval, and the confusion matrices."""
    said = []
    for name, counts in confusions(results).items():
        names = class_names(results, len(counts))
        right = zip(names, shares(counts).diagonal(), strict=True)
        said.append(f"{name}: {', '.join(f'{c} {percent(s, digits=0)} % right' for c, s in right)}")
    chart = _chart(confusion_chart(results), f"Confusion matrices. {'; '.join(said)}")
    note = "Confusions in the test set: images, mean of the runs. Shade: share of the true class."
    return _table(metrics_table(results)) + (f'{chart}<p class="soft">{note}</p>' if chart else "")


def _search(results: Mapping[str, Any]) -> str:
    trace = "".join(f"<li>{escape(step)}</li>" for step in tables.search_trace(results))
    return _table(tables.search_table(results)) + (f"<ol>{trace}</ol>" if trace else "")


def _similarity(results: Mapping[str, Any]) -> str:
    similarity = results.get("similarity") or {}
    table = tables.similarity_table(results)
    if table is None:
        return ""
    numbers = f"<details><summary>The numbers</summary>{_table(table)}</details>"
    note = f'<p class="soft">{escape(table.caption)}. Less similar means more complementary.</p>'
    alt = f"Heat map. {table.caption}: {', '.join(table.columns[1:])}; the numbers are below"
    return _chart(figures.similarity_heatmap(similarity), alt) + note + numbers


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
        shown = _scroll(shown, "Views")
    return f'<figure class="{kind}">{first}{arrow}{shown}{words}</figure>'


def _png(data: str, alt: str) -> str:
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'


def _curves(run: RunRecord) -> str:
    """The proxy tasks' losses; their accuracies and the fine-tuning's curves folded away."""
    stages = {"pretrain": "proxy tasks", "finetune": "fine-tuning"}
    body = ""
    for kind, name in stages.items():
        for quantity, plural in {"loss": "losses", "accuracy": "training accuracies"}.items():
            figure = figures.training_curves(run.metrics, kind=kind, quantity=quantity)
            chart = _chart(figure, f"Line charts over steps: {plural} of the {name}, one per pool")
            title = f"{plural} of the {name}".capitalize()
            if chart and body:
                chart = f"<details><summary>{title}</summary>{chart}</details>"
            body += chart
    note = '<p class="soft">Losses of the proxy tasks. Faint: as logged. Solid: moving mean.</p>'
    return body + note if body else ""


def _time_alt(run: RunRecord) -> str:
    seconds = sum(stage.get("seconds") or 0.0 for stage in run.stages)
    return f"Bar chart of the time per stage; {seconds:,.0f} seconds in {len(run.stages)} stages"


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
    body += _facts(environment)
    if backbone := (run.results.get("best") or {}).get("backbone"):
        body += f"<p>Weights of the backbone: <code>{escape(str(backbone))}</code></p>"
    if run.config:
        summary = "<summary>All settings</summary>"
        body += f"<details>{summary}{_facts(_flat(run.config))}</details>"
    return body


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (
        f'<tr><th scope="row">{escape(str(k))}</th><td>{escape(str(v))}</td></tr>'
        for k, v in facts.items()
    )
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>' if facts else ""


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value
        flat.update(_flat(value, f"{name}.") if nested else {name: value})
    return flat
