"""The report of a run: what it contains, in order, as one page and one file of tables.

A new section is one more entry of `SECTIONS`; a new table or figure is one more part of a
section.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from assl_jax.files import write_text
from assl_jax.records import Results
from assl_jax.report import (
    attention,
    before,
    curves,
    embedding,
    examples,
    metrics,
    overview,
    pairs,
    penalty,
    search,
    self_assl,
    similarity,
    stages,
    summary,
)
from assl_jax.report.evaluations import named_metric
from assl_jax.report.html import PAGE, to_html
from assl_jax.report.markdown import TABLES, to_markdown
from assl_jax.report.names import capitalised
from assl_jax.report.outcome import headline, warnings
from assl_jax.report.record import RunRecord, TaskExamples
from assl_jax.report.terminal import to_lines
from assl_jax.sections import Part, Report, Section
from assl_jax.words import say

__all__ = ["RunRecord", "TaskExamples", "summary_lines", "write_report"]

SECTIONS: dict[str, Callable[[RunRecord], Iterable[Part | None]]] = {
    "summary": summary.parts,
    "overview": overview.parts,
    "metrics": metrics.parts,
    "search": search.parts,
    "pairs": pairs.parts,
    "self_assl": self_assl.parts,
    "penalty": penalty.parts,
    "similarity": similarity.parts,
    "embedding": embedding.parts,
    "images": before.images,
    "attention": attention.parts,
    "examples": examples.parts,
    "curves": curves.parts,
    "time": stages.parts,
    "skipped": before.skipped,
    "environment": before.environment,
}


def sections(run: RunRecord) -> tuple[Section, ...]:
    """The sections that have something to show; charts are drawn when a renderer asks for them."""
    metric = capitalised(named_metric(run.results) or say("accuracy"))
    found = (
        Section.of(say(f"section.{key}", metric=metric), *parts(run))
        for key, parts in SECTIONS.items()
    )
    return tuple(section for section in found if section.parts)


def report_of(run: RunRecord) -> Report:
    """The report of a run."""
    results = run.results
    subtitle = say("subtitle", experiment=results.experiment, data=results.data, seed=results.seed)
    return Report(headline(results), sections(run), subtitle, warnings(results))


def files_of(report: Report) -> dict[str, str]:
    """A page that needs no other file, and a file of tables, by their names."""
    return {TABLES: to_markdown(report), PAGE: to_html(report)}


def write_report(folder: Path, run: RunRecord) -> Path:
    """Write `files_of` a run into a folder; returns the path of the page.

    Each file is replaced as a whole, so that a reader never sees half of one. The same record gives
    the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files_of(report_of(run)).items():
        write_text(folder / name, text)
    return folder / PAGE


def summary_lines(results: Results) -> list[str]:
    """What a run prints at its end: the outcome, aligned tables and the search in words.

    Intervals are printed for small test sets and for metrics other than the accuracy.
    """
    return to_lines(report_of(RunRecord(results)))
