"""What an exported network expects: how a file becomes its input, as values, words and code."""

import dataclasses
import json
from typing import Any

from assl_jax.data.file_reader import FileReader
from assl_jax.data.nifti import MILLIMETRES
from assl_jax.data.orientation import AXES
from assl_jax.data.volume_file import PERCENTILE_SCALE, PERCENTILES, SAME_GRID
from assl_jax.errors import InputError
from assl_jax.interop.filling import fill
from assl_jax.interop.onnx_graph import BATCH, INPUT
from assl_jax.interop.source import Source
from assl_jax.ops.intensity import Intensity

FILTER = "linear, antialiased"  # a triangle, as wide as an output pixel


def preprocessing(source: Source, format: str) -> dict[str, Any]:
    """What the network expects, as plain values; `steps` says the same in words, `code` in Python.

    The code reads files with Pillow or nibabel, and without assl_jax. It defines `normalise`, from
    an array in the run's units to the input of one image, and `preprocess`, from a file to that
    input, unless no file can be such an image.
    """
    i, first = source.intensity, format != "safetensors"  # channels first
    *space, channels = source.reader.shape
    axes = "DHW"[-len(space) :]
    image = [channels, *space] if first else [*space, channels]
    layout = f"NC{axes}" if first else f"N{axes}C"
    steps, code = described(source.reader, i, layout)
    return {
        "input": INPUT,
        "dtype": "float32",
        "layout": layout,
        "shape": [BATCH, *image],
        "low": i.low,
        "high": i.high,
        "mean": list(i.mean),
        "std": list(i.std),
        "file": _settings(source.reader),
        "steps": steps,
        "code": code,
    }


def described(reader: FileReader, intensity: Intensity, layout: str) -> tuple[list[str], str]:
    """How a file becomes the input of a network, in words and as Python code.

    The layout is that of a batch, such as "NCHW".
    """
    files, picture = _readable(reader), len(reader.shape) == 3
    about = {
        "reader": reader,
        "i": intensity,
        "layout": layout,
        "first": layout[1] == "C",
        "files": files,
        "picture": picture,
        "filter": FILTER,
        "format": _format(reader) if files else None,
        **dict(zip("hw", reader.shape[:2], strict=True)),
        "millimetres": json.dumps(MILLIMETRES),
        "same_grid": SAME_GRID,
        "percentiles": PERCENTILES,
        "percentile_scale": PERCENTILE_SCALE,
    }
    return fill("steps.txt.j2", **about).splitlines(), fill("reading.py.j2", **about)


def _format(reader: FileReader) -> Any:
    return reader.image_format if len(reader.shape) == 3 else reader.volume_format


def _readable(reader: FileReader) -> bool:
    """Whether a file can be an image of the run: arrays may have other channels and values."""
    channels = reader.shape[-1]
    try:
        format = _format(reader)
    except InputError:
        return False
    if len(reader.shape) == 4:
        return channels == 1
    return channels == format.channels or format.pages == "channels"


def _settings(reader: FileReader) -> dict[str, Any]:
    """How a file is read, each setting as in the config; empty if no file can be such an image."""
    if not _readable(reader):
        return {}
    kind: dict[str, Any] = {"kind": "image"}
    if len(reader.shape) == 4:
        kind = {"kind": "volume", "orientation": list(AXES)}
    return kind | {"filter": FILTER} | dataclasses.asdict(_format(reader))
