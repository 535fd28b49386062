"""One image file, DICOM or any format that Pillow opens, to one array of 8-bit integers."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import UInt8

from assl_jax.console import hush
from assl_jax.data.dicom_files import MAGIC, PREAMBLE, head_of, is_head
from assl_jax.data.dicom_image import DICOM_SUFFIXES, decode_dicom
from assl_jax.data.memory import Within, check_claim
from assl_jax.data.names import shown, special, walk
from assl_jax.data.source import LARGEST_SIDE
from assl_jax.data.window import check_fills, check_window, to_bytes
from assl_jax.errors import require
from assl_jax.ranges import OneOf, Range, check

PICTURES = (  # compared in lower case
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".jpx", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff"),
    ".webp",
)
EXTENSIONS = (*PICTURES, *DICOM_SUFFIXES)
PICTURE_MAGIC = (  # how the content of an image begins, for other names
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
BOXES = ((b"RIFF", 8, b"WEBP"), (b"", 4, b"ftypavif"))  # beginning, and text at an offset
FORMATS = (  # Pillow's names of these. It knows others; some start a program such as Ghostscript.
    *("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP"),
)
BLANK = 2**26  # bytes of pixels that a file of any size may have: one colour packs into nothing
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # in memory; others 4
FULL_RANGE = (0.0, 65535.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """How a file becomes an array.

    Attributes:
      side: resizes the shorter side to `side` pixels and cuts out the centre square; 0 keeps the
        size.
      channels: 1 converts to grey, 3 to RGB, 4 to RGB and alpha; 0 keeps grey and RGB as they are.
      window: file values that become 0 and 255; () takes 8-bit values as they are, shows a DICOM
        file as it asks to be shown (`data.dicom_image.decode_dicom`), and refuses others.
      pages: of a file with several pages or frames: "one" refuses it, "first" and "middle" read one
        page, "channels" makes each page a channel.
      alpha: "white" shows transparent pixels on white, "drop" ignores the transparency; not used
        with four channels.

    Raises:
      InputError: a setting out of range, named as in `data.*`.
    """

    side: Annotated[int, Range(at_least=0, at_most=LARGEST_SIDE)] = 0
    channels: int = 0
    window: tuple[float, ...] = ()
    pages: Annotated[str, OneOf(("one", "first", "middle", "channels"))] = "one"
    alpha: Annotated[str, OneOf(("white", "drop"))] = "white"

    def __post_init__(self) -> None:
        check(self, "data.")
        check_window(self.window)
        require(
            self.channels in (0, 1, 3, 4),
            f"data.channels={self.channels} must be 0 (as they are), 1, 3 or 4",
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the array, as JSON values."""
        return dataclasses.asdict(self)

    @property
    def limits(self) -> tuple[float, float]:
        """The integers that are black and white."""
        return 0.0, 255.0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "ImageFormat":
        """The format that the settings of a data source describe; other settings are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        mine = {name: value for name, value in settings.items() if name in names}
        return cls(**mine | {"window": tuple(map(float, mine.get("window", ())))})


def decode_image(path: Path, format: ImageFormat) -> UInt8[np.ndarray, "h w c"]:
    """Decode one image file.

    The EXIF orientation is applied. Palette, CMYK and other colour modes become RGB, black and
    white becomes grey. Resizing is bilinear and antialiased. Of an MPO file (two photographs of
    one camera) the first is read. Grey images have 1 channel and others 3, unless the format says
    otherwise.

    Raises:
      ValueError: what only the user can decide: values of more than 8 bits without a window,
        several pages, channels without a meaning, an image that is transparent everywhere.
      Exception: what Pillow or pydicom raises on a broken file, which may be of any type.
    """
    hush("PIL")
    if reason := special(path):
        raise ValueError(reason)
    pages = _dicom(path, format) if is_dicom_image(path) else _pictures(path, format)
    return pages[0] if len(pages) == 1 else np.concatenate(pages, -1)


def _dicom(path: Path, format: ImageFormat) -> list[np.ndarray]:
    """The frames of a DICOM file."""
    from PIL import Image

    def numbers(n: int) -> Sequence[int]:
        return _pages(n, format.pages, f"{n} frames", ", or read it as a volume: mtassl_volumes")

    frames = decode_dicom(path, window=format.window, frames=numbers)
    images = ((Image.fromarray(frame), frame.ndim == 2) for frame in frames)
    return [_fitted(_in_mode(image, format, grey), format) for image, grey in images]


def _pictures(path: Path, format: ImageFormat) -> list[np.ndarray]:
    """The pages of a file that Pillow reads."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Within(path) as content, Image.open(content, formats=FORMATS) as file:
            if format.side and not format.window:
                # libjpeg decodes large ones at a smaller size
                file.draft(None, (2 * format.side, 2 * format.side))
            pages = []
            several = file.format != "MPO" and getattr(file, "is_animated", False)
            n = getattr(file, "n_frames", 1) if several else 1
            numbers = _pages(n, format.pages, f"{n} pages")
            for page in numbers:
                if page:
                    file.seek(page)
                each = file.width * file.height * PIXEL_BYTES.get(file.mode, 4)
                read = max(len(numbers), page + 1)  # a page can need those before it
                check_claim(each * read, path.stat().st_size, packed=True, free=BLANK)
                pages.append(_decode(file, format))
    except UnidentifiedImageError as e:
        with path.open("rb") as whole:
            if whole.read(4) in (b"II*\0", b"MM\0*"):
                raise ValueError(
                    "a TIFF of a kind that Pillow cannot read, such as floating point in several "
                    "channels; save it as 8-bit RGB, or all images as arrays (data.name=npz)"
                ) from e
        raise
    except Image.DecompressionBombError as e:
        limit = round(2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6)
        raise ValueError(f"it has more than {limit} million pixels; save it smaller") from e
    return pages


def _pages(n: int, pages: str, what: str, otherwise: str = "") -> Sequence[int]:
    """Which of `n` pages `data.pages` takes; `what` and `otherwise` are for the message."""
    if n == 1:
        return (0,)
    if pages == "one":
        raise ValueError(f"it has {what}; set data.pages to first, middle or channels{otherwise}")
    return {"first": (0,), "middle": (n // 2,), "channels": range(n)}[pages]


def _decode(file: Any, format: ImageFormat) -> np.ndarray:
    from PIL import Image, ImageOps

    sixteen = _sixteen_bits(file)  # before the pixels are loaded
    _refuse_lost_values(file, format, sixteen)
    samples = getattr(file, "tag_v2", {}).get(277, 1)  # of a TIFF
    if samples > len(file.getbands()) and format.channels not in (1, 3):
        raise ValueError(
            f"it has {samples} channels; set data.channels=3 to keep the first three, or save all "
            "images as arrays (data.name=npz)"
        )
    image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":
        image = Image.fromarray(to_bytes(np.asarray(image), format.window))
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data and format.channels != 4:
        image = image.convert("RGBA")
        if format.alpha == "white":
            if not np.asarray(image)[..., 3].any():
                raise ValueError("every pixel is transparent; set data.alpha=drop to see through")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = _in_mode(image, format, grey)
    if format.window and file.mode[0] not in "IF" and not sixteen:
        image = Image.fromarray(to_bytes(np.asarray(image), format.window))
    return _fitted(image, format)


def _in_mode(image: Any, format: ImageFormat, grey: bool) -> Any:
    """The image with the channels that `data.channels` asks for."""
    mode = {0: "L" if grey else "RGB", 1: "L", 3: "RGB", 4: "RGBA"}[format.channels]
    if mode == "RGBA" and not image.has_transparency_data:
        image = image.convert("RGB")  # CMYK has no direct way
    return image.convert(mode)


def _fitted(image: Any, format: ImageFormat) -> UInt8[np.ndarray, "h w c"]:
    """The image as an array, with the size that `data.side` asks for."""
    from PIL import Image, ImageOps

    if format.side:
        size = (format.side, format.side)
        image = ImageOps.fit(image, size, method=Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1)


def _refuse_lost_values(file: Any, format: ImageFormat, sixteen: bool) -> None:
    """Refuse values of more than 8 bits without a window, since only the user knows their range."""
    if file.mode[0] in "IF":
        if not format.window:
            raise ValueError(
                f"grey pixels of more than 8 bits (mode {file.mode}); set data.window=(low, high), "
                "the values that become black and white, or save it as 8-bit"
            )
    elif sixteen:
        if format.window != FULL_RANGE:
            raise ValueError(
                "colours of 16 bits, of which Pillow reads the upper 8; set data.window="
                "(0, 65535) if the values fill this range, or save it as 8-bit"
            )
    else:
        check_fills(format.window)


def _sixteen_bits(file: Any) -> bool:
    """Whether Pillow will drop the lower 8 of 16 bits; the decoder's arguments say it."""
    arguments = file.tile[0][3] if getattr(file, "tile", None) else ()
    raw = arguments if isinstance(arguments, str) else next(iter(arguments or ("",)), "")
    return isinstance(raw, str) and ";16" in raw and file.mode[0] not in "IF"


def is_image(path: str | Path) -> bool:
    """Whether the name or the content says that the file is an image that can be read."""
    if os.fspath(path).lower().endswith(EXTENSIONS):
        return True
    head = head_of(path)
    return _is_picture(head) or is_head(head)


def is_dicom_image(path: str | Path) -> bool:
    """Whether a file is read as DICOM: by its content, or by its name if it is nothing else."""
    name, head = os.fspath(path).lower(), head_of(path)
    if name.endswith(PICTURES):  # some TIFF files begin as both
        return head[PREAMBLE:].startswith(MAGIC) and not _is_picture(head)
    return is_head(head) or (name.endswith(DICOM_SUFFIXES) and not _is_picture(head))


def _is_picture(head: bytes) -> bool:
    return head.startswith(PICTURE_MAGIC) or any(
        head.startswith(start) and head[at : at + len(text)] == text for start, at, text in BOXES
    )


def find_images(folder: Path) -> tuple[list[str], list[str]]:
    """All files under a folder: the images, and the others.

    The names are relative to the folder, with slashes. (A million `Path`s would take a minute.)
    Files of one folder are sorted, and stand before those of its folders. A pipe, a socket or a
    device is no image, whatever its name.
    """
    images: list[str] = []
    others: list[str] = []
    for inside, _, files in walk(folder):
        for entry in files:
            file = entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
            kind = images if file and is_image(entry.path) else others
            kind.append(inside + entry.name)
    return images, others


def endings(files: Iterable[str]) -> str:
    """The endings of files with their numbers, such as ".txt (3), .dcm (120)"."""
    counts = Counter(shown(os.path.splitext(file)[1].lower()) or "no ending" for file in files)
    return ", ".join(f"{ending} ({n})" for ending, n in sorted(counts.items()))
