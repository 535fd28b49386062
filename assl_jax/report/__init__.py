"""The report of a run: one page and one file of tables."""

from pathlib import Path

from assl_jax.files import write_text
from assl_jax.records import Results
from assl_jax.report.contents import report_of
from assl_jax.report.html import PAGE, page
from assl_jax.report.markdown import TABLES, markdown
from assl_jax.report.record import RunRecord, TaskExamples
from assl_jax.report.terminal import lines_of

__all__ = ["RunRecord", "TaskExamples", "summary_lines", "write_report"]


def write_report(folder: Path, run: RunRecord) -> Path:
    """Write `index.html`, which needs no other file, and `tables.md`.

    Each file is replaced as a whole, so that a reader never sees half of one. The same record gives
    the same bytes.

    Args:
      folder: created if it is missing.
      run: what to show; a section without material is left out.

    Returns:
      The path of `index.html`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = report_of(run)
    for name, text in ((TABLES, markdown(report)), (PAGE, page(report))):
        write_text(folder / name, text)
    return folder / PAGE


def summary_lines(results: Results) -> list[str]:
    """What a run prints at its end: the outcome, aligned tables and the search in words.

    Intervals are printed for small test sets and for metrics other than the accuracy.
    """
    return lines_of(report_of(RunRecord(results)))
