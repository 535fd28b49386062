"""What the report of a run contains, in order.

A new section is one more function here; a new table or figure is one more part of a section.
"""

from collections.abc import Callable

from assl_jax.report import (
    attention,
    before,
    curves,
    embedding,
    environment,
    examples,
    metrics,
    overview,
    pairs,
    search,
    self_assl,
    self_assl_charts,
    similarity,
    stages,
)
from assl_jax.report.headline import headline, warnings
from assl_jax.report.record import RunRecord
from assl_jax.report.words import say
from assl_jax.sections import Report, Section

SECTIONS: tuple[Callable[[RunRecord], Section], ...] = (
    overview.section,
    metrics.section,
    search.section,
    pairs.section,
    self_assl.section,
    self_assl_charts.section,
    similarity.section,
    embedding.section,
    before.images_section,
    attention.section,
    examples.section,
    curves.section,
    stages.section,
    before.skipped_section,
    environment.section,
)


def sections(run: RunRecord) -> tuple[Section, ...]:
    """The sections that have something to show; charts are drawn when a renderer asks for them."""
    return tuple(section for make in SECTIONS if (section := make(run)).parts)


def report_of(run: RunRecord) -> Report:
    """The report of a run."""
    results = run.results
    subtitle = say("subtitle", experiment=results.experiment, data=results.data, seed=results.seed)
    return Report(headline(results), sections(run), subtitle, warnings(results))
