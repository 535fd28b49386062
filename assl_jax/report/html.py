"""The parts of a self-contained HTML page: its style, sections, charts and tables."""

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from assl_jax.report.table import Table

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


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; empty parts are left out."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>" if body else ""


def scroll(inner: str, label: str, kind: str = "") -> str:
    """A region that scrolls sideways on a narrow screen, with the keyboard too."""
    name = escape(label)
    return f'<div class="wide {kind}" role="region" aria-label="{name}" tabindex="0">{inner}</div>'


def chart_html(svg: str, alt: str) -> str:
    """An SVG as an image of its own: its ids cannot meet another chart's."""
    if not svg:
        return ""
    data = base64.b64encode(svg.encode()).decode("ascii")
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">'
    return scroll(image, "Chart", "chart")


def table_html(table: Table | None) -> str:
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
    return scroll(f"<table>{caption}{body}</table>", table.caption)


def _name_class(column: int, table: Table) -> str:
    return ' class="name"' if column < table.names else ""


def folded(summary: str, body: str) -> str:
    """A part that opens on a click; "" without a body."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>" if body else ""


def soft(text: str) -> str:
    """A note in small grey letters."""
    return f'<p class="soft">{escape(text)}</p>' if text else ""


def facts_html(facts: Mapping[str, Any]) -> str:
    rows = (
        f'<tr><th scope="row">{escape(str(k))}</th><td>{escape(str(v))}</td></tr>'
        for k, v in facts.items()
    )
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>' if facts else ""


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value
        flat.update(flattened(value, f"{name}.") if nested else {name: value})
    return flat
