"""A model card in Markdown: what an exported file holds, and how good it is."""

from collections.abc import Iterator, Mapping
from typing import Any

from assl_jax.evaluation.scores import METRICS
from assl_jax.interop.filling import fill
from assl_jax.interop.onnx_graph import INPUT
from assl_jax.interop.source import Source
from assl_jax.models import backbone_entry
from assl_jax.records import Estimate, Evaluation
from assl_jax.tasks import describe
from assl_jax.words import say


def model_card(
    source: Source,
    *,
    file: str,
    preprocessing: Mapping[str, Any],
    code: str,
    config: Mapping[str, Any],
    commands: tuple[str, str],
    licence: str = "",
) -> str:
    """The card of one exported file.

    Args:
      source: the network.
      file: name of the exported file.
      preprocessing: see `preprocessing.preprocessing`.
      code: Python code that loads the file.
      config: settings of the run.
      commands: the run's, and the one that exported the file.
      licence: of the weights; "" says that it is not stated.
    """
    columns = _columns(source)
    card = fill(
        "card.md.j2",
        source=source,
        results=source.results,
        title=backbone_entry(source.settings["name"]).title,
        file=file,
        tasks=", ".join(describe(task).title for task in source.pool),
        is_scratch=source.label == "scratch",
        is_start=source.label == "start",
        columns=list(columns),
        rows=list(_rows(columns)),
        preprocessing=preprocessing,
        input=INPUT,
        code=code,
        config=config,
        commands=commands,
        licence=licence,
    )
    return f"{card}\n"


def _columns(source: Source) -> dict[str, Evaluation]:
    """The network's scores on the test set next to those without its pretraining."""
    results = source.results
    columns = {
        source.label: source.evaluation,
        say("network.start"): results.start,
        say("network.scratch"): results.scratch,
    }
    if source.label in ("start", "scratch"):  # it stands under its own label
        del columns[say(f"network.{source.label}")]
    return {title: each for title, each in columns.items() if each}


def _rows(columns: Mapping[str, Evaluation]) -> Iterator[tuple[str, list[str]]]:
    for name, metric in METRICS.items():
        each = [evaluation.metrics.get(name) for evaluation in columns.values()]
        if any(each):
            yield metric.title, [_printed(estimate, metric.share) for estimate in each]


def _printed(estimate: Estimate | None, share: bool) -> str:
    if estimate is None:
        return "–"
    factor, end = (100, " %") if share else (1, "")
    digits = 1 if share else 3
    return f"{factor * estimate.mean:.{digits}f} ± {factor * estimate.std:.{digits}f}{end}"
