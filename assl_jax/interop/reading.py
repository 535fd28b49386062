"""Python code that reads a file as a run did, with Pillow or nibabel and without assl_jax."""

import json
from collections.abc import Iterator

from assl_jax.data.file_reader import FileReader
from assl_jax.data.image_file import ImageFormat
from assl_jax.data.nifti import MILLIMETRES
from assl_jax.data.volume_file import PERCENTILE_SCALE, PERCENTILES, SAME_GRID, VolumeFormat
from assl_jax.ops.intensity import Intensity

GREY = ("1", "L", "LA", "La")  # Pillow's modes
RESIZE = '''\
def resize(x, axis, length, m):
    """Resample the centre `length` pixels of an axis to m pixels: linear, antialiased."""
    n = x.shape[axis]
    if n == m == length:
        return x
    centre = (n - length) / 2 + (np.arange(m)[:, None] + 0.5) * length / m
    distance = abs(centre.clip(0.5, n - 0.5) - np.arange(n) - 0.5)
    weight = np.maximum(0, 1 - distance / max(length / m, 1))
    weight /= weight.sum(1, keepdims=True)
    return np.moveaxis(np.tensordot(weight, x, (1, axis)), 0, axis)
'''


def reading_code(
    reader: FileReader, intensity: Intensity, *, files: bool, channels_first: bool
) -> str:
    """The code; it defines `normalise`, and `preprocess` where `files` can be images of the run.

    Args:
      reader: reads files as images of the run, as the code will.
      intensity: how its values become network inputs.
      files: whether a file can be such an image.
      channels_first: the layout of the input.
    """
    imports = ["import numpy as np", "from PIL import Image, ImageOps  # Pillow 10.1 or later"]
    read = _image_code
    if len(reader.shape) == 4:
        imports, read = ["import nibabel as nib", "import numpy as np"], _volume_code
    parts = [
        "\n".join([*(imports if files else ["import numpy as np"]), ""]),
        _normalise(intensity, channels_first),
        *(read(reader) if files else ()),
    ]
    return "\n\n".join(parts)


def _normalise(i: Intensity, first: bool) -> str:
    mean, std = (f"np.float32({list(values)})" for values in (i.mean, i.std))
    shape = "[c, *space]" if first else "[*space, c]"
    return "\n".join(
        [
            "def normalise(image):",
            f'    """From [*space, c] in the run\'s units to {shape}."""',
            f"    x = (image.astype(np.float32) - {i.low}) / ({i.high} - {i.low})",
            f"    x = (x.clip(0, 1) - {mean}) / {std}",
            "    return np.ascontiguousarray(np.moveaxis(x, -1, 0))" if first else "    return x",
            "",
        ]
    )


def _image_code(reader: FileReader) -> Iterator[str]:
    about = '    """The input of an image that Pillow opens, which is no DICOM."""'
    h, w, _ = reader.shape
    format = reader.image_format
    if format.window:
        low, high = format.window
        yield "\n".join(
            [
                "def to_bytes(image):",
                "    x = np.asarray(image).astype(np.float64)",
                f"    x = (x.clip({low}, {high}) - {low}) * (255 / ({high} - {low}))",
                "    return Image.fromarray(np.rint(x).astype(np.uint8))\n",
            ]
        )
    if h != w:
        yield RESIZE
    yield "\n".join(['def decode(file):\n    """[h, w, c] from 0 to 255."""', *_decode(format), ""])
    yield "\n".join(["def preprocess(path):", about, *_pages(format), *_stored(reader)])


def _decode(format: ImageFormat) -> Iterator[str]:
    """From an opened file to an array."""
    yield "    image = ImageOps.exif_transpose(file)"
    if format.window:
        yield '    deep = image.mode[0] in "IF"  # more than 8 bits'
        yield "    image = to_bytes(image) if deep else image"
    mode = {1: '"L"', 3: '"RGB"', 4: '"RGBA"'}.get(format.channels, "mode")
    if mode == "mode":
        yield f'    mode = "L" if image.mode in {GREY} else "RGB"'
    if format.channels == 4:
        yield "    image = image if image.has_transparency_data else image.convert('RGB')"
    else:
        yield "    if image.has_transparency_data:"
        yield '        image = image.convert("RGBA")'
        if format.alpha == "white":
            yield '        white = Image.new("RGBA", image.size, "white")'
            yield "        image = Image.alpha_composite(white, image)"
    yield f"    image = image.convert({mode})"
    if format.window and format.window[1] <= 255:
        yield "    image = image if deep else to_bytes(image)"
    if format.side:
        size = (format.side, format.side)
        yield f"    image = ImageOps.fit(image, {size}, method=Image.Resampling.BILINEAR)"
    yield "    x = np.asarray(image)"
    yield "    return x.reshape(*x.shape[:2], -1)"


def _pages(format: ImageFormat) -> Iterator[str]:
    yield "    with Image.open(path) as file:"
    if format.side and not format.window:
        size = (2 * format.side, 2 * format.side)
        yield f"        file.draft(None, {size})  # libjpeg decodes a large image at a smaller size"
    if format.pages in ("middle", "channels"):
        yield '        pages = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)'
    if format.pages == "middle":
        yield "        file.seek(pages // 2)"
    if format.pages == "channels":
        yield "        each = []"
        yield "        for page in range(pages):"
        yield "            file.seek(page)"
        yield "            each.append(decode(file))"
        yield "    x = np.concatenate(each, -1)"
    else:
        yield "        x = decode(file)"


def _stored(reader: FileReader) -> Iterator[str]:
    """From 0 to 255 to the run's units and size."""
    h, w, _ = reader.shape
    if h != w:
        yield f"    if x.shape[:2] != ({h}, {w}):"
        yield f"        x = resize(resize(x, 0, len(x), {h}), 1, x.shape[1], {w})"
        yield "        x = np.rint(x).astype(np.uint8)"
    if (reader.low, reader.high) != (0, 255):
        span = f"({reader.high} - {reader.low})"
        yield f"    x = np.rint({reader.low} + x.astype(np.float32) / 255 * {span})"
    yield "    return normalise(x)"


def _volume_code(reader: FileReader) -> Iterator[str]:
    yield RESIZE
    yield "\n".join(
        [
            "def preprocess(path):",
            '    """The input of a NIfTI file; convert a volume of another format first."""',
            "    file = nib.as_closest_canonical(nib.load(path))",
            "    x = np.asarray(file.dataobj).reshape(file.shape[:3])",
            "    x = x.transpose(2, 1, 0)[:, ::-1, ::-1]  # up, to the back, to the left",
            *_resampled(reader.volume_format),
            *_integers(reader.volume_format),
            "    return normalise(x[..., None])",
        ]
    )


def _resampled(format: VolumeFormat) -> Iterator[str]:
    if format.nan != "refuse":
        fill = "x[np.isfinite(x)].min()" if format.nan == "lowest" else float(format.nan)
        yield f"    x = np.where(np.isfinite(x), x, {fill})"
    if format.foreground_above is not None:
        yield f"    inside = np.argwhere(x > {format.foreground_above})"
        yield "    box = zip(inside.min(0), inside.max(0) + 1)"
        yield "    x = x[tuple(slice(start, end) for start, end in box)]"
    yield "    x = x.astype(np.result_type(x.dtype, np.float32))"
    if not format.spacing:
        yield f"    for axis, m in enumerate({format.shape}):"
        yield "        x = resize(x, axis, x.shape[axis], m)"
        return
    yield f"    unit = {json.dumps(MILLIMETRES)}.get(file.header.get_xyzt_units()[0], 1)"
    yield "    voxel = nib.affines.voxel_sizes(file.affine)[::-1] * unit"
    yield f"    for axis, new in enumerate({format.spacing}):  # mm"
    yield "        ratio = new / voxel[axis]"
    yield f"        ratio = 1 if abs(ratio - 1) < {SAME_GRID} else ratio"
    yield "        m = round(x.shape[axis] / ratio)"
    yield "        x = resize(x, axis, m * ratio, m)"
    yield f"    starts = [((n - m) // 2, m) for n, m in zip(x.shape, {format.shape})]"
    yield "    x = x[tuple(slice(start, start + m) for start, m in starts)]"


def _integers(format: VolumeFormat) -> Iterator[str]:
    low, high = format.limits
    if format.window:
        yield f"    x = np.rint(x.clip({low}, {high}))"
    else:
        yield f"    low, high = np.percentile(x, {PERCENTILES})"
        yield f"    x = np.rint({PERCENTILE_SCALE} * ((x - low) / (high - low)).clip(0, 1))"
