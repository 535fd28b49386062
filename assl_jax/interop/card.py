"""A model card in Markdown: what an exported file holds, and how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from assl_jax.evaluation.scores import METRICS
from assl_jax.interop.onnx_graph import INPUT
from assl_jax.interop.source import Source
from assl_jax.models import backbone_entry
from assl_jax.records import Estimate, Evaluation, Results
from assl_jax.strategies.network import SCRATCH, START, TITLES
from assl_jax.tasks import describe

NO_LICENCE = "not stated; the licence of the data may restrict the use of the weights"


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
    results, title = source.results, backbone_entry(source.settings["name"]).title
    what = "fine-tuned network with its head" if source.head else "pretrained backbone"
    files = preprocessing["file"]
    each = "preprocess(path) for path in paths" if files else "normalise(array) for array in arrays"
    parts = [
        f"# {source.label}: {title}\n",
        f"`{file}` holds a {what}, made with assl_jax.\n",
        _table(("Field", "Value"), _facts(source, config, commands, licence)),
        "\n## Scores\n",
        _scores(source),
        "\n## Preprocessing\n",
        *(f"{i}. {step}" for i, step in enumerate(preprocessing["steps"], 1)),
        f"\nThe same as code:\n\n```python\n{preprocessing['code']}\n```",
        f"\nA batch is `{INPUT} = np.stack([{each}])`.",
        "\n## Loading\n",
        f"```python\n{code}\n```",
    ]
    if source.head:
        parts += ["\n## Classes\n", ", ".join(f"{i}: {c}" for i, c in enumerate(source.classes))]
    return "\n".join([*parts, f"\nTest set: {results.test_images:,} images{_patients(source)}.\n"])


def _facts(
    source: Source, config: Mapping[str, Any], commands: tuple[str, str], licence: str
) -> list[tuple[str, str]]:
    results, trained = source.results, source.training
    trained = config["pretrain"] if trained is None else trained
    tasks = ", ".join(describe(task).title for task in source.pool)
    path = config["data"].get("path")
    teachers = config.get("distil", {}).get("teachers")
    facts = {
        "Licence": licence or NO_LICENCE,
        "Data": f"{results.data}{f' ({path})' if path else ''}",
        "Images": f"{' x '.join(map(str, source.space))}, channels: {source.channels}",
        "Proxy tasks": tasks or _untrained(source),
        "Pretraining": f"{trained['steps']:,} steps of {trained['batch_size']} images"
        if source.pool and trained
        else "none",
        "Start weights": "random" if source.label == SCRATCH.label else _start_weights(results),
        **({"Teachers": teachers} if teachers else {}),
        "Labels": f"{results.labels:,}",
        **({"Probabilities": _sureness(source)} if source.head else {}),
        "Backbone": ", ".join(f"{key}={value}" for key, value in source.settings.items()),
        "Seed": str(results.seed),
        "Trained with": f"`{commands[0]}`",
        "Exported with": f"`{commands[1]}`",
    }
    return list(facts.items())


def _untrained(source: Source) -> str:
    """Why a network has no proxy tasks of its own."""
    best = source.results.best
    if source.label == START.label:
        return "those of the start weights"
    kept = best is not None and best.scratch
    return f"none{' (the run found nothing better than no pretraining)' if kept else ''}"


def _start_weights(results: Results) -> str:
    start = results.start_weights
    if start is None:
        return "random"
    cost = f", {start.flops / 1e12:,.1f} TFLOP of pretraining" if start.flops else ""
    return f"{start.label} of {start.source}{cost}" if start.label else start.source


def _sureness(source: Source) -> str:
    if source.temperature is None:
        return "softmax of the logits, not calibrated: often far too sure"
    return (
        f"softmax of the logits; the head is divided by the temperature {source.temperature:.4g}, "
        "fitted to out-of-fold predictions of the labelled images"
    )


def _scores(source: Source) -> str:
    """The network's metrics on the test set next to those without pretraining."""
    results = source.results
    columns: dict[str, Evaluation | None] = {
        source.label: source.evaluation,
        TITLES["start"]: results.start or None,
        TITLES["scratch"]: results.scratch,
    }
    columns.pop(TITLES.get(source.label, ""), None)  # it stands under its own label
    known = {title: each for title, each in columns.items() if each}
    if not known:
        return "No score was measured."
    rows = [
        (
            METRICS[name].title,
            *(_printed(e.metrics.get(name), METRICS[name].share) for e in known.values()),
        )
        for name in METRICS
        if any(name in e.metrics for e in known.values())
    ]
    note = "Mean ± standard deviation over repeated fine-tunings, on the test set."
    if source.head:
        note += " The file holds the first of the fine-tuned networks."
    if source.temperature:
        note += " The log loss is that without the temperature."
    return f"{_table(('Metric', *known), rows)}\n\n{note}"


def _printed(estimate: Estimate | None, share: bool) -> str:
    if estimate is None:
        return "–"
    factor, end = (100, " %") if share else (1, "")
    digits = 1 if share else 3
    return f"{factor * estimate.mean:.{digits}f} ± {factor * estimate.std:.{digits}f}{end}"


def _patients(source: Source) -> str:
    number = source.results.patients
    return "; patients are not known" if number is None else f" of {number:,} patients"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )
