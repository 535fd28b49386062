"""Two-dimensional DICOM as images: values by hand from PS3.3 C.11, files as scanners write them."""

import math

import numpy as np
import pydicom
import pytest
from dicom_writers import REPORT, XRAY, write_slice
from pydicom.dataset import Dataset as Elements

from assl_jax.data.dicom_files import is_head
from assl_jax.data.image_file import ImageFormat, decode_image, find_images, is_image

TWELVE = {"BitsStored": 12}
U2 = np.array([[0, 1000], [2000, 4095]], "u2")


@pytest.fixture
def xray(tmp_path):
    """`xray(pixels, **elements)` writes an X-ray and gives its path."""

    def write(pixels, name="a.dcm", **elements):
        return write_slice(tmp_path / name, pixels, **XRAY | elements)

    return write


def decoded(file, **settings):
    return decode_image(file, ImageFormat(**settings))


def lut(entries, first, bits, values):
    item = Elements()
    item.LUTDescriptor, item.LUTData = [entries, first, bits], values
    for name in ("LUTDescriptor", "LUTData"):
        item[name].VR = "US" if first >= 0 or name == "LUTData" else "SS"
    return [item]


def linear(x, center, width):
    """PS3.3 C.11.2.1.2, to 0 to 255."""
    y = (x - (center - 0.5)) / (width - 1) + 0.5
    return round(255 * min(max(y, 0), 1))


WINDOW = {"WindowCenter": 1500, "WindowWidth": 2001}
HOUNSFIELD = {"RescaleSlope": 2, "RescaleIntercept": -1000}
CASES = {
    "8 bits": (np.array([[0, 7], [200, 255]], "u1"), {}, {}, [[0, 7], [200, 255]]),
    "8 bits, white is low": (
        np.array([[0, 7], [200, 255]], "u1"),
        {"PhotometricInterpretation": "MONOCHROME1"},
        {},
        [[255, 248], [55, 0]],
    ),
    "8 of 16 bits": (np.array([[0, 7], [9, 255]], "u2"), {"BitsStored": 8}, {}, [[0, 7], [9, 255]]),
    "no window: smallest to largest": (
        np.array([[1000, 1100], [1200, 1500]], "u2"),
        TWELVE,
        {},
        [[0, 51], [102, 255]],
    ),
    "no window: without the padding": (
        np.array([[0, 1100], [1000, 1500]], "u2"),
        TWELVE | {"PixelPaddingValue": 0},
        {},
        [[0, 51], [0, 255]],
    ),
    "no window and one value": (np.full((2, 2), 9, "u2"), TWELVE, {}, [[0, 0], [0, 0]]),
    "a window": (
        U2,
        TWELVE | WINDOW,
        {},
        [[linear(0, 1500, 2001), linear(1000, 1500, 2001)], [linear(2000, 1500, 2001), 255]],
    ),
    "a window, white is low": (
        U2,
        TWELVE | WINDOW | {"PhotometricInterpretation": "MONOCHROME1"},
        {},
        [[255, 255 - linear(1000, 1500, 2001)], [255 - linear(2000, 1500, 2001), 0]],
    ),
    "the first of two windows": (
        U2,
        TWELVE | {"WindowCenter": [1500, 9], "WindowWidth": [2001, 4]},
        {},
        [[0, linear(1000, 1500, 2001)], [linear(2000, 1500, 2001), 255]],
    ),
    "a window around 0 of rescaled values": (
        np.array([[400, 500], [550, 600]], "u2"),
        TWELVE | HOUNSFIELD | {"WindowCenter": 0, "WindowWidth": 401},
        {},
        [[linear(v, 0, 401) for v in row] for row in ((-200, 0), (100, 200))],
    ),
    "a window that falls": (
        np.array([[0, 100], [300, 400]], "u2"),
        TWELVE
        | {"RescaleSlope": -1, "RescaleIntercept": 0}
        | {"WindowCenter": -200, "WindowWidth": 201},
        {},
        [[255, linear(-100, -200, 201)], [linear(-300, -200, 201), 0]],
    ),
    "an exact window": (
        U2,
        TWELVE | {"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"},
        {},
        [[0, 128], [255, 255]],
    ),
    "a sigmoid": (
        U2,
        TWELVE | {"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"},
        {},
        [[round(255 / (1 + math.exp(-4 * (v - 1000) / 2000))) for v in row] for row in U2.tolist()],
    ),
    "a window without a width is none": (
        np.array([[1000, 1100], [1200, 1500]], "u2"),
        TWELVE | {"WindowCenter": 1, "WindowWidth": 0},
        {},
        [[0, 51], [102, 255]],
    ),
    "a table of 12 bits": (
        np.array([[0, 1], [2, 99]], "u2"),
        TWELVE | {"VOILUTSequence": lut(3, 0, 12, [4095, 0, 819])},
        {},
        [[255, 0], [51, 51]],
    ),
    # More entries than the table's 8 bits can count.
    "a table of 8 bits": (
        U2,
        TWELVE | {"VOILUTSequence": lut(4096, 0, 8, [v // 16 for v in range(4096)])},
        {},
        [[0, 62], [125, 255]],
    ),
    "a table before a window": (
        np.array([[0, 1], [2, 2]], "u2"),
        TWELVE | WINDOW | {"VOILUTSequence": lut(3, 0, 8, [9, 8, 7])},
        {},
        [[9, 8], [7, 7]],
    ),
    "data.window on rescaled values": (
        np.array([[0, 500], [750, 1000]], "u2"),
        TWELVE | HOUNSFIELD | WINDOW,
        {"window": (-1000.0, 1000.0)},
        [[0, 128], [191, 255]],
    ),
    "data.window, white is low": (
        np.array([[0, 500], [750, 1000]], "u2"),
        TWELVE | {"PhotometricInterpretation": "MONOCHROME1"},
        {"window": (0.0, 1000.0)},
        [[255, 127], [64, 0]],
    ),
    "a modality table": (
        np.array([[0, 1], [2, 2]], "u2"),
        TWELVE | {"ModalityLUTSequence": lut(3, 0, 16, [0, 500, 1000])},
        {"window": (0.0, 1000.0)},
        [[0, 128], [255, 255]],
    ),
    "signed": (
        np.array([[-100, 20], [50, 100]], "i2"),
        {},
        {"window": (-100.0, 100.0)},
        [[0, 153], [191, 255]],
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_grey_values_by_hand(xray, what):
    pixels, elements, settings, expected = CASES[what]
    found = decoded(xray(pixels, **elements), **settings)
    assert found.dtype == np.uint8 and found.shape == (2, 2, 1)
    np.testing.assert_array_equal(found[..., 0], expected)


RGB = np.random.default_rng(0).integers(0, 256, (2, 4, 3), dtype=np.uint8)
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "Rows": 2, "Columns": 4}


@pytest.mark.parametrize("planes", [0, 1])
def test_colours(xray, planes):
    stored = RGB.transpose(2, 0, 1) if planes else RGB
    file = xray(np.ascontiguousarray(stored), PlanarConfiguration=planes, **COLOUR)
    np.testing.assert_array_equal(decoded(file), RGB)
    assert decoded(file, channels=1).shape == (2, 4, 1)


def test_brightness_and_colour_differences_become_rgb(xray):
    # PS3.3 C.7.6.3.1.2: Y 76, Cb 85 and Cr 255 are pure red.
    red = np.broadcast_to(np.array([76, 85, 255], "u1"), (2, 4, 3))
    file = xray(red, **COLOUR | {"PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": 0})
    assert np.abs(decoded(file).astype(int) - [254, 0, 0]).max() <= 1


def test_a_palette_becomes_rgb(xray):
    tables = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour, values in (("Red", [0, 255, 9]), ("Green", [1, 2, 3]), ("Blue", [7, 8, 9]))
        for part, value in (
            ("Descriptor", [3, 0, 16]),
            ("Data", (257 * np.array(values, "<u2")).tobytes()),
        )
    }
    pixels = np.array([[0, 1], [2, 99]], "u1")
    file = xray(pixels, PhotometricInterpretation="PALETTE COLOR", **tables)
    expected = [[[0, 1, 7], [255, 2, 8]], [[9, 3, 9], [9, 3, 9]]]
    np.testing.assert_array_equal(decoded(file), expected)


@pytest.mark.parametrize("syntax", ["RLELossless", "DeflatedExplicitVRLittleEndian"])
def test_compressed_files(xray, syntax):
    pixels = np.arange(64, dtype="u1").reshape(8, 8)
    file = xray(pixels, syntax=getattr(pydicom.uid, syntax))
    np.testing.assert_array_equal(decoded(file)[..., 0], pixels)


@pytest.mark.parametrize("implicit, little", [(True, True), (False, True), (False, False)])
def test_files_without_a_preamble_or_a_suffix(xray, tmp_path, implicit, little):
    dataset = pydicom.dcmread(xray(np.arange(16, dtype="u1").reshape(4, 4)))
    (tmp_path / "a.dcm").unlink()
    del dataset.file_meta
    dataset.preamble = None
    file = tmp_path / "IM0001"
    order = {"implicit_vr": implicit, "little_endian": little}
    pydicom.dcmwrite(file, dataset, **order, force_encoding=True)
    assert file.read_bytes()[128:132] != b"DICM" and is_head(file.read_bytes())
    assert is_image(file) and find_images(tmp_path) == (["IM0001"], [])
    np.testing.assert_array_equal(decoded(file)[..., 0], np.arange(16).reshape(4, 4))


def test_what_is_no_dicom_stays_so(xray, tmp_path):
    for name, content in (("text", b"text " * 99), ("zeros", bytes(999)), ("short", b"\x08\0")):
        (tmp_path / name).write_bytes(content)
        assert not is_image(tmp_path / name)
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert find_images(tmp_path) == ([], ["short", "text", "zeros"])
    (tmp_path / "b.dcm").write_bytes(b"text " * 99)
    with pytest.raises(ValueError, match="^it does not begin as a DICOM file$"):
        decoded(tmp_path / "b.dcm")


def test_the_side_and_the_channels_are_those_of_pictures(xray):
    file = xray(np.arange(32, dtype="u1").reshape(4, 8) * 8)
    assert decoded(file, side=2, channels=3).shape == (2, 2, 3)


def test_frames_are_pages(xray):
    pixels = np.arange(48, dtype="u1").reshape(3, 4, 4)
    file = xray(pixels, NumberOfFrames=3)
    with pytest.raises(ValueError, match="has 3 frames; set data.pages to .*: mtassl_volumes$"):
        decoded(file)
    np.testing.assert_array_equal(decoded(file, pages="first")[..., 0], pixels[0])
    np.testing.assert_array_equal(decoded(file, pages="middle")[..., 0], pixels[1])
    np.testing.assert_array_equal(decoded(file, pages="channels"), np.moveaxis(pixels, 0, -1))


def test_a_report_is_no_image(xray):
    file = xray(np.zeros((4, 4), "u1"), **REPORT)
    with pytest.raises(ValueError, match="it is no image .Basic Text"):
        decoded(file)


def test_no_name_is_in_memory(xray, monkeypatch):
    seen = []
    read = pydicom.dcmread

    def dcmread(*arguments, **options):
        seen.append(read(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(pydicom, "dcmread", dcmread)
    decoded(xray(np.zeros((4, 4), "u1")))
    assert seen and not any("PatientName" in elements for elements in seen)
