"""Writes a network of a run for other programs, with its preprocessing and a model card."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from assl_jax import outputs, records
from assl_jax.errors import lookup
from assl_jax.evaluation.scores import METRICS
from assl_jax.interop.filling import fill
from assl_jax.interop.names import HEADS
from assl_jax.interop.onnx_graph import INPUT, make_model
from assl_jax.interop.preprocessing import preprocessing
from assl_jax.interop.recipe import recipe
from assl_jax.interop.source import Source, read_source
from assl_jax.interop.tensors import RECORD, SUFFIX, encode_tensors
from assl_jax.interop.weights import to_own, to_torch
from assl_jax.models import backbone_entry, make_backbone
from assl_jax.records import Estimate, Evaluation
from assl_jax.tasks import describe
from assl_jax.words import say

FORMATS = {
    **{library: f"weights in the names of {library}" for library in HEADS},
    "safetensors": "weights in our own names and layout",
    "onnx": "the network as a graph",
}


class Written(NamedTuple):
    """The files of an export: the network, its preprocessing as JSON, and the model card."""

    network: Path
    preprocessing: Path
    card: Path


def export(
    workdir: Path,
    format: str,
    *,
    network: str = "",
    raw: bool = False,
    out: Path | None = None,
    licence: str = "",
    force: bool = False,
) -> Written:
    """Export a network of a finished run.

    Args:
      workdir: of the run.
      format: a key of `FORMATS`.
      network, raw: see `read_source`.
      out: folder of the files; None means `export/` in the workdir.
      licence: of the weights; "" says that it is not stated.
      force: see `outputs.write`.
    """
    lookup(FORMATS, format, "--format")
    source = read_source(workdir, network, raw=raw)
    own = {"onnx": ".onnx", "safetensors": SUFFIX}  # of the formats that are no library's
    file = source.file + own.get(format, f".{format}{SUFFIX}")
    described = preprocessing(source, format)
    if source.head:
        described["temperature"] = source.temperature
    if format == "onnx":
        content, code = _onnx(source, described, file)
    else:
        content, code = _tensors(source, format, described, file)
    chosen = f" --network={network}" if network else ""
    chosen += " --raw" if raw else ""
    card = _card(
        source,
        file=file,
        preprocessing=described,
        code=code,
        config=records.read_settings(workdir / records.CONFIG),
        commands=(
            records.read_settings(workdir / records.ENVIRONMENT).get("command", ""),
            f"assl-jax export {workdir} --format={format}{chosen}",
        ),
        licence=licence,
    )
    folder = out or workdir / "export"
    written = Written(folder / file, folder / f"{file}.json", folder / f"{file}.md")
    contents = (content, json.dumps(described, indent=2).encode() + b"\n", card.encode())
    outputs.write(dict(zip(written, contents, strict=True)), force=force)
    return written


def _tensors(
    source: Source, format: str, described: dict[str, Any], file: str
) -> tuple[bytes, str]:
    """The content of the file of weights, and the code that loads it."""
    if format in HEADS:
        code = recipe(format, source, file)
        arrays = to_torch(source.backbone, source.variables, format, source.head)
    else:
        code = f'from safetensors.numpy import load_file\n\narrays = load_file("{file}")'
        arrays = to_own(source.variables, source.head)
    record = {**source.record, "format": format, "preprocessing": described}
    return encode_tensors(arrays, record), code


def _onnx(source: Source, described: dict[str, Any], file: str) -> tuple[bytes, str]:
    """The same for a graph; it computes in float32, whatever the run computed in."""
    backbone = make_backbone(**{**source.settings, "dtype": "float32", "remat": False})
    head = source.head

    def network(x: jax.Array) -> list[jax.Array]:
        maps: Any = backbone.apply(source.variables, x)
        features = maps["pooled"]
        return [features @ head.kernel + head.bias[None], features] if head else [features]

    names = ["logits", "features"] if head else ["features"]
    model = make_model(network, source.reader.shape, names)
    record = {**source.record, "outputs": names, "preprocessing": described}
    model.metadata_props.add(key=RECORD, value=json.dumps(record))

    code = (
        "import onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("{file}")\n'
        f'{", ".join(names)}{"" if head else ","} = session.run(None, {{"{INPUT}": images}})'
    )
    return model.SerializeToString(), code


def _card(source: Source, **about: Any) -> str:
    """The model card in Markdown: what the file holds, and how good the network is."""
    columns = _columns(source)
    card = fill(
        "card.md.j2",
        source=source,
        results=source.results,
        title=backbone_entry(source.settings["name"]).title,
        tasks=", ".join(describe(task).title for task in source.pool),
        columns=list(columns),
        rows=list(_rows(columns)),
        input=INPUT,
        **about,
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
