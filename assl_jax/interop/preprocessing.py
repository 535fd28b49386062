"""What an exported network expects: how a file becomes its input, as values, words and code."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from assl_jax.data.file_reader import FileReader
from assl_jax.data.image_file import ImageFormat
from assl_jax.data.orientation import AXES
from assl_jax.data.volume_file import PERCENTILES
from assl_jax.errors import InputError
from assl_jax.interop.onnx_graph import BATCH, INPUT
from assl_jax.interop.reading import reading_code
from assl_jax.interop.source import Source

FILTER = "linear, antialiased"  # a triangle, as wide as an output pixel


def preprocessing(source: Source, format: str) -> dict[str, Any]:
    """What the network expects, as plain values; `steps` says the same in words, `code` in Python.

    The code defines `normalise`, from an array in the run's units to the input of one image, and
    `preprocess`, from a file to that input, unless no file can be such an image.
    """
    i, reader = source.intensity, source.reader
    first = format != "safetensors"  # channels first
    axes = "DHW"[-len(source.space) :]
    image = [source.channels, *source.space] if first else [*source.space, source.channels]
    layout = f"NC{axes}" if first else f"N{axes}C"
    volume = len(source.space) == 3
    read = _volume_steps if volume else _image_steps
    readable = _readable(reader)
    return {
        "input": INPUT,
        "dtype": "float32",
        "layout": layout,
        "shape": [BATCH, *image],
        "low": i.low,
        "high": i.high,
        "mean": list(i.mean),
        "std": list(i.std),
        "file": _settings(reader) if readable else {},
        "steps": [
            *(read(reader) if readable else _array_steps(reader)),
            f"x = clip((x - {i.low:g}) / ({i.high:g} - {i.low:g}), 0, 1)",
            f"x = (x - {list(i.mean)}) / {list(i.std)}, per channel",
            f"Batches are {'channels first' if first else 'channels last'}, {layout}.",
        ],
        "code": reading_code(reader, i, files=readable, channels_first=first),
    }


def _readable(reader: FileReader) -> bool:
    """Whether a file can be an image of the run: arrays may have other channels and values."""
    channels = reader.shape[-1]
    try:
        if len(reader.shape) == 4:
            return channels == 1 and bool(reader.volume_format)
        format = reader.image_format
    except InputError:
        return False
    return channels == format.channels or format.pages == "channels"


def _settings(reader: FileReader) -> dict[str, Any]:
    """How a file is read, each setting as in the config."""
    if len(reader.shape) == 4:
        settings = dataclasses.asdict(reader.volume_format)
        return {"kind": "volume", "orientation": list(AXES), "filter": FILTER} | settings
    return {"kind": "image", "filter": FILTER} | dataclasses.asdict(reader.image_format)


def _array_steps(reader: FileReader) -> Iterator[str]:
    yield (
        f"Bring the image to {' x '.join(map(str, reader.shape[:-1]))} and {reader.shape[-1]} "
        "channels, in the units of the run's arrays."
    )


def _unknown(reader: FileReader) -> Iterator[str]:
    if not reader.format:
        yield "The run's images were arrays, or it does not say how it read files. Then:"


def _image_steps(reader: FileReader) -> Iterator[str]:
    h, w, channels = reader.shape
    format = reader.image_format
    yield from _unknown(reader)
    pages = {
        "middle": " the middle page of",
        "first": " the first page of",
        "channels": " each page of",
    }
    turned = "turn it as EXIF says"
    if format.pages == "channels":
        turned += ", and take the pages as channels"
    yield f"Decode{pages.get(format.pages, '')} the image and {turned}."
    yield (
        "A DICOM image, which the code does not read: apply its rescale slope and intercept; map "
        f"{_shown(format)} to 0 to 255; invert MONOCHROME1."
    )
    if format.window:
        yield f"Map the values {format.window[0]:g} to {format.window[1]:g} to 0 to 255, clipped."
    if format.channels != 4:
        shown = "Show transparent pixels on white" if format.alpha == "white" else "Drop the alpha"
        yield f"{shown}; convert to {'grey' if channels == 1 else 'RGB'} ({channels} channels)."
    if format.side:
        yield (
            f"Resize the shorter side to {format.side} pixels ({FILTER}) and cut out the centre "
            "square."
        )
    if h != w:
        yield f"Resize an image of another size to {h} x {w} ({FILTER}), and round."
    if (reader.low, reader.high) != (0, 255):
        yield f"Map 0 to 255 to {reader.low:g} to {reader.high:g}, and round."


def _shown(format: ImageFormat) -> str:
    """The values of a DICOM image that become black and white."""
    if format.window:
        return f"{format.window[0]:g} to {format.window[1]:g}"
    return "its table or first window, or else (above 8 bits) its smallest to its largest value,"


def _volume_steps(reader: FileReader) -> Iterator[str]:
    format = reader.volume_format
    yield from _unknown(reader)
    yield (
        "Turn the voxels: axis 0 from inferior to superior, axis 1 from anterior to posterior, "
        "axis 2 from the patient's right to the left."
    )
    if format.nan != "refuse":
        yield f"Replace voxels that are NaN or infinite: {format.nan}."
    if format.foreground_above is not None:
        yield f"Crop to the box of the voxels above {format.foreground_above:g}."
    size = " x ".join(map(str, format.shape))
    if format.spacing:
        voxel = " x ".join(f"{s:g}" for s in format.spacing)
        yield f"Resample to {voxel} mm ({FILTER}); cut out the centre {size} voxels."
    else:
        yield f"Resize to {size} voxels ({FILTER})."
    low, high = format.limits
    if format.window:
        yield f"Clip to {low:g} to {high:g}, and round."
    else:
        yield f"Map the percentiles {PERCENTILES} to {low:g} and {high:g}, clip, and round."
