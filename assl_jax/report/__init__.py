"""The report of a run: one page and one file of tables."""

from pathlib import Path

from assl_jax.files import write_text
from assl_jax.report.html import PAGE
from assl_jax.report.page import render_page
from assl_jax.report.record import RunRecord, TaskExamples
from assl_jax.report.tables import TABLES, render_markdown, summary_lines

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
    for name, text in ((TABLES, render_markdown(run.results)), (PAGE, render_page(run))):
        write_text(folder / name, text)
    return folder / PAGE
