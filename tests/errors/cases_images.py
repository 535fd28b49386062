"""Image files that a run refuses."""

import io
import zlib

import numpy as np
import pydicom
from data_sets import chunk, png
from dicom_writers import XRAY, dicom_bytes
from PIL import Image

TOPIC = "Image files"
COMMAND = (
    *("run", "mtassl_folder", "--config.data.path=FOLDER/photos", "--config.data.cache="),
    *("--workdir=FOLDER/work", "--config.tasks=rotation"),
    *("--config.pretrain.batch_size=8", "--config.target.batch_size=8"),
)


def case(content, *settings, name="0.png", more=()):
    """`content` gives the bytes of an image, the first among good ones; `more` are its twins."""

    def build(folder):
        for i in range(16):
            file = folder / "photos" / "train" / ("cat", "dog")[i % 2] / f"good{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16)).save(file)
        for each in (name, *more):
            (folder / "photos" / "train" / "cat" / each).write_bytes(content())
        return [*COMMAND, *(f"--config.{each}" for each in settings)]

    return build


def saved(image, form="PNG", **more):
    def content():
        file = io.BytesIO()
        image.save(file, form, **more)
        return file.getvalue()

    return content


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
GREY = Image.new("L", (16, 16))
FRAMES = [Image.new("RGB", (16, 16), value) for value in ("red", "blue")]
HALF = saved(NOISE, "JPEG")()[:-200]
SIXTEEN = Image.fromarray(np.full((16, 16), 3000, np.uint16))
FLOAT = Image.fromarray(np.full((16, 16), np.nan, np.float32))


def xray(**elements):
    """A DICOM file of 4x4 pixels."""
    pixels = np.zeros((4, 4), np.uint8)
    return lambda: dicom_bytes(pixels, **XRAY | {"PixelData": bytes(48)} | elements)


PACKED = {"syntax": pydicom.uid.JPEGLSLossless, "PixelData": pydicom.encaps.encapsulate([b"any"])}

CASES = {
    "a text that is called a photograph": case(lambda: b"no image"),
    "zeros": case(lambda: bytes(4096)),
    "the first half of a photograph": case(lambda: HALF, name="0.jpg"),
    "the first bytes alone": case(lambda: saved(NOISE)()[:20]),
    "a photograph with changed bytes": case(lambda: saved(NOISE)()[:60] + bytes(500)),
    "a header of 60,000 by 60,000 pixels": case(lambda: png(60_000, 60_000, chunk(b"IDAT", b"x"))),
    "a header of 10 pixels by 2 milliards": case(lambda: png(10, 2**31 - 1, chunk(b"IDAT", b"x"))),
    "a header without a pixel": case(lambda: png(0, 0, chunk(b"IDAT", b"x"))),
    "no pixels": case(lambda: png(16, 16)),
    "pixels that are no zlib stream": case(lambda: png(16, 16, chunk(b"IDAT", b"nonsense"))),
    "a text of a gigabyte in a small file": case(
        lambda: png(16, 16, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27), 9)))
    ),
    "several pages": case(
        saved(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), name="0.tif"
    ),
    "frames": case(saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), name="0.gif"),
    "16 bits without a window": case(saved(SIXTEEN)),
    "numbers with NaN": case(saved(FLOAT, "TIFF"), "data.window=(0,1)", name="0.tif"),
    "an image that is transparent everywhere": case(saved(Image.new("RGBA", (16, 16)))),
    "a text that is called DICOM": case(lambda: b"no image", name="0.dcm"),
    "a film (DICOM)": case(xray(NumberOfFrames=3), name="0.dcm"),
    "slices of a series (DICOM)": case(
        xray(Modality="CT", ImagePositionPatient=[0, 0, 0]), name="0.dcm", more=["1.dcm"]
    ),
    "a DICOM file without its rows": case(xray(Rows=None), name="0.dcm"),
    "a DICOM file of half its pixels": case(xray(PixelData=bytes(8)), name="0.dcm"),
    "a DICOM header of 60,000 by 60,000 pixels": case(xray(Rows=60000, Columns=60000), name="0"),
    "a DICOM compression without a decoder": case(xray(**PACKED), name="0.dcm"),
    "8 bits (DICOM) among 12": case(xray(), "data.window=(0,4095)", name="0.dcm"),
    "a vector graphic": case(lambda: b"<svg></svg>", name="0.webp"),
    "a grey image among coloured ones": case(saved(GREY)),
    "a larger image": case(saved(NOISE.resize((20, 16)))),
    "an empty TIFF": case(lambda: b"II*\0" + bytes(4), name="0.tif"),
    "a TIFF that refers to itself": case(
        lambda: b"II*\0\x08\0\0\0" + bytes(2) + b"\x08\0\0\0", name="0.tif"
    ),
}
