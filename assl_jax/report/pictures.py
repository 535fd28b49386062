"""Images and volumes as PNGs for a page: a volume as its three orthogonal middle slices."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np

LONGEST = 128  # pixels of a slice's longer side: more than a page shows
MOST = 10  # views of a volume side by side


def tile(image: np.ndarray) -> np.ndarray:
    """One image or volume `[*space, c]` as a picture `[h, w, c + 1]`, the last channel its alpha.

    A volume `[d, h, w, c]` gives its middle slices, one below the other: axial `[h, w]`, coronal
    `[d, w]` and sagittal `[d, h]`. Axis 0 runs from inferior to superior, so the last two are drawn
    upside down. A short axis is stretched by repetition to at least half of the longest, since
    thick slices are far apart; large slices lose pixels.
    """
    if image.ndim == 3:
        return _opaque(image)
    d, h, w, _ = image.shape
    longest = max(d, h, w)
    rd, rh, rw = (math.ceil(longest / 2 / n) for n in (d, h, w))
    step = math.ceil(longest / LONGEST)
    slices = [
        (image[d // 2], rh, rw),
        (image[::-1, h // 2], rd, rw),
        (image[::-1, :, w // 2], rd, rh),
    ]
    planes = [s.repeat(r0, 0).repeat(r1, 1)[::step, ::step] for s, r0, r1 in slices]
    return _joined([_opaque(plane) for plane in planes], axis=0)


def strip(views: np.ndarray) -> np.ndarray:
    """Views `[v, *space, c]` side by side as a picture `[h, w, c + 1]`; only those of `shown`."""
    return _joined([tile(views[i]) for i in shown(views)], axis=1)


def shown(views: np.ndarray) -> np.ndarray:
    """Indices of the views that a strip has room for: all images, or `MOST` volumes, spread out."""
    v = len(views)
    most = v if views.ndim == 4 else min(v, MOST)
    return np.linspace(0, v - 1, most).round().astype(int)


def _opaque(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image, np.ones((*image.shape[:2], 1))], -1)


def _joined(pictures: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    """Pictures in a row along `axis`, centred across it; what lies between them is transparent."""
    gap = max(1, pictures[0].shape[1] // 16)
    width = max(picture.shape[1 - axis] for picture in pictures)
    padded: list[np.ndarray] = []
    for picture in pictures:
        spare, pad = width - picture.shape[1 - axis], [(0, 0)] * 3
        pad[axis], pad[1 - axis] = (gap if padded else 0, 0), (spare // 2, spare - spare // 2)
        padded.append(np.pad(picture, pad))
    return np.concatenate(padded, axis)


def png(picture: np.ndarray) -> str:
    """`[h, w, c + 1]` in [0, 1] as a base64 PNG; the last channel, alpha, only where it is used."""
    from PIL import Image

    levels = (np.nan_to_num(picture).clip(0, 1) * 255).round().astype(np.uint8)
    levels = levels[..., :-1] if (levels[..., -1] == 255).all() else levels
    out = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")


def image_png(image: np.ndarray) -> str:
    """One image or volume `[*space, c]` as a base64 PNG, see `tile`."""
    return png(tile(image))
