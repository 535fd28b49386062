"""The report of a run: one page and one file of tables."""

from pathlib import Path

from assl_jax.report.page import render_page
from assl_jax.report.record import RunRecord, TaskExamples
from assl_jax.report.tables import render_markdown, summary_lines
from assl_jax.report.write import PAGE, write_files

__all__ = ["RunRecord", "TaskExamples", "summary_lines", "write_report"]


def write_report(folder: Path, run: RunRecord) -> Path:
    """Write `index.html` (self-contained) and `tables.md` into `folder`.

    Each file is replaced as a whole, so a reader never sees half of one. The same record gives the
    same bytes.

    Args:
      folder: created when missing.
      run: what to show; sections without material are left out.

    Returns:
      The path of `index.html`.
    """
    return write_files(folder, {"tables.md": render_markdown(run.results), PAGE: render_page(run)})
