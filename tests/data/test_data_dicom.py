"""DICOM series: the same volume as NIfTI gives, every kind of stored value, enhanced files."""

import itertools
import os

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_writers import REPORT, SCOUT, write_enhanced, write_slice

from assl_jax.data.dicom import describe_dicom
from assl_jax.data.dicom_files import is_dicom
from assl_jax.data.phantom_ct import phantom
from assl_jax.data.volume_file import VolumeFormat, read_volume
from assl_jax.data.volume_folder import find_volumes
from assl_jax.data.volume_reader import identify, stamp

RNG = np.random.default_rng(0)
HU = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)  # [z, y, x]
WIDE = VolumeFormat(window=(-1024.0, 3071.0))


def write_series(folder, array=HU, affine=None, **elements):
    """Files whose names are not in the slices' order.

    `affine` maps indices of `array` to RAS+ mm; it may hold any rotation.
    """
    affine = np.diag([1.0, -1.0, -1.0, 1.0])[[2, 1, 0, 3]] if affine is None else affine
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    down, across = lps[:3, 1], lps[:3, 2]
    spacing = [np.linalg.norm(down), np.linalg.norm(across)]
    axes = [*(across / spacing[1]), *(down / spacing[0])]
    names = RNG.permutation(len(array))
    for k, pixels in enumerate(array):
        place = {
            "PixelSpacing": [f"{v:.9g}" for v in spacing],
            "ImageOrientationPatient": [f"{v:.12f}" for v in axes],
            "ImagePositionPatient": [f"{v:.9f}" for v in (lps @ [k, 0, 0, 1])[:3]],
            "InstanceNumber": int(names[k]),
        }
        write_slice(folder / f"IM{names[k]}", pixels, **place | elements)
    return folder


def affine_of(turn, spacing):
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(turn) * spacing
    affine[:3, 3] = [-31.25, 17.5, 40.0]
    return affine


def turns():
    """Orthonormal matrices: rotations by 90 degrees of either hand, and an oblique one."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            yield np.eye(3)[:, order] * signs
    c, s = np.cos(0.3), np.sin(0.3)
    yield np.array([[0, c, -s], [0, s, c], [1, 0, 0]])


def test_one_scan_in_both_formats_gives_equal_arrays(tmp_path):
    head = phantom(0, shape=(8, 12, 10))
    formats = [
        VolumeFormat(window=(-20.0, 100.0)),
        VolumeFormat(window=(-20.0, 100.0), shape=(6, 6, 6)),
        VolumeFormat(spacing=(2.0, 2.0, 2.0), foreground_above=-500.0),
    ]
    assert head.dtype == np.int16
    for k, turn in enumerate(turns()):
        if k % 16:  # three of the 48, and the oblique one
            continue
        affine = affine_of(turn, (4.0, 0.5, 1.25))
        nib.Nifti1Image(head, affine).to_filename(tmp_path / "head.nii")
        series = write_series(tmp_path / f"head{k}", head, affine)
        for format in formats:
            expected = read_volume(tmp_path / "head.nii", format)
            np.testing.assert_array_equal(read_volume(series, format), expected)


def test_all_orientations_give_the_same_array(tmp_path):
    """`HU` on grids that differ in the order and the directions of their axes."""
    for k, turn in enumerate(itertools.islice(turns(), 0, 48, 5)):
        world = np.abs(turn).argmax(0)  # which axis of the world (x, y, z) each axis follows
        flips = [a for a in range(3) if turn[:, a] @ (-1, -1, 1) < 0]  # `HU` runs left, back, up
        array = np.flip(HU.transpose(2 - world), flips)
        series = write_series(tmp_path / str(k), array, affine_of(turn, (1, 1, 1)))
        np.testing.assert_array_equal(describe_dicom(series).standard()[0], HU)


def test_a_slice_shows_what_a_radiologist_sees(tmp_path):
    """An axial series by hand: rows run backwards, columns to the left, z up."""
    pixels = np.arange(6, dtype=np.int16).reshape(2, 3)
    for name, z, value in (("a", 4.5, 100), ("b", 3.0, 0)):
        write_slice(
            tmp_path / name,
            pixels + value,
            ImagePositionPatient=[9, 9, z],
            PixelSpacing=[0.5, 0.75],
        )
    values, spacing = describe_dicom(tmp_path).standard()
    np.testing.assert_array_equal(values, [pixels, pixels + 100])
    assert spacing == (1.5, 0.5, 0.75) and values.dtype == np.int16


def pair(folder, pixels, **elements):
    """Two slices: `pixels`, and the same above."""
    for z in (0, 1):
        write_slice(folder / f"{z}", pixels, ImagePositionPatient=[0, 0, z], **elements)
    return describe_dicom(folder).standard()[0][0]


VALUES = {
    "bytes": (np.array([[0, 255], [7, 8]], "u1"), {}, [[0, 255], [7, 8]]),
    "unsigned words": (np.array([[0, 65535], [7, 8]], "u2"), {}, [[0, 65535], [7, 8]]),
    "signed words": (np.array([[-32768, 32767], [7, 8]], "i2"), {}, [[-32768, 32767], [7, 8]]),
    "Hounsfield": (
        np.array([[0, 4095], [1024, 8]], "u2"),
        {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024},
        [[-1024, 3071], [0, -1016]],
    ),
    "a slope": (
        np.array([[0, 4], [1, 2]], "u2"),
        {"RescaleSlope": "0.25", "RescaleIntercept": "-1.5"},
        [[-1.5, -0.5], [-1.25, -1.0]],
    ),
    # The upper four bits hold something else: an overlay, or the wrong sign.
    "12 bits unsigned": (
        np.array([[0xF001, 0x8FFF], [0x0007, 0x1008]], "u2"),
        {"BitsStored": 12},
        [[1, 4095], [7, 8]],
    ),
    "12 bits signed": (
        np.array([[0x0FFF, 0x0800], [0x07FF, 0x1001]], "u2"),
        {"BitsStored": 12, "PixelRepresentation": 1},
        [[-1, -2048], [2047, 1]],
    ),
    # Low values are shown white. They stay low.
    "MONOCHROME1": (
        np.array([[0, 9], [7, 8]], "u2"),
        {"PhotometricInterpretation": "MONOCHROME1"},
        [[0, 9], [7, 8]],
    ),
}


@pytest.mark.parametrize("kind", VALUES)
def test_stored_values_by_hand(tmp_path, kind):
    pixels, elements, expected = VALUES[kind]
    values = pair(tmp_path, pixels, **elements)
    np.testing.assert_array_equal(values, expected)
    narrow = {"Hounsfield": "int16", "bytes": "uint8", "12 bits signed": "int16"}
    assert values.dtype == narrow.get(kind, values.dtype)


def test_every_slice_has_its_own_slope(tmp_path):
    pixels = np.full((2, 2), 10, np.int16)
    for z, slope in enumerate((0.5, 2.0)):
        elements = {"ImagePositionPatient": [0, 0, z], "RescaleSlope": slope}
        write_slice(tmp_path / f"{z}", pixels, **elements)
    assert describe_dicom(tmp_path).standard()[0][:, 0, 0].tolist() == [5.0, 20.0]


@pytest.mark.parametrize(
    "syntax", ["ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian", "RLELossless"]
)
def test_other_encodings(tmp_path, syntax):
    pixels = np.arange(64, dtype=np.int16).reshape(8, 8)
    values = pair(tmp_path, pixels, syntax=getattr(pydicom.uid, syntax))
    np.testing.assert_array_equal(values, pixels)


def test_a_tilted_gantry_keeps_its_slices(tmp_path):
    tilted = affine_of(np.eye(3)[[2, 1, 0]] * [1, -1, -1], (3.0, 1.0, 1.0))
    tilted[1, 0] = 1.5  # each slice lies further forward
    values, spacing = describe_dicom(write_series(tmp_path / "a", affine=tilted)).standard()
    np.testing.assert_array_equal(values, HU)
    assert spacing == pytest.approx((np.hypot(3.0, 1.5), 1.0, 1.0))


@pytest.mark.parametrize("shared_scale", [True, False])
def test_an_enhanced_file(tmp_path, shared_scale):
    file = write_enhanced(tmp_path / "a" / "one.dcm", HU, shared_scale=shared_scale)
    for path in (file, file.parent):
        values, spacing = describe_dicom(path).standard()
        np.testing.assert_array_equal(values, HU - 24)
        assert spacing == (5.0, 2.0, 3.0)
    assert find_volumes(tmp_path).volumes == [tmp_path / "a"]


def test_the_preamble_tells_what_is_dicom(tmp_path):
    series = write_series(tmp_path / "study" / "series")
    (series / "notes.txt").write_text("text")
    (series / ".hidden").write_text("")
    (tmp_path / "study" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "study" / "short").write_bytes(b"DICM")
    assert is_dicom(series) and is_dicom(series / "IM0")
    for other in (series / "notes.txt", tmp_path / "study", tmp_path / "absent"):
        assert not is_dicom(other)
    np.testing.assert_array_equal(read_volume(series, WIDE)[..., 0], HU)
    assert find_volumes(tmp_path).volumes == [series] == find_volumes(series).volumes


def test_localisers_and_other_objects_are_left_out(tmp_path):
    series = write_series(tmp_path)
    write_slice(series / "AA", HU[0], SeriesInstanceUID="1.2.9", **SCOUT)
    write_slice(series / "ZZ", HU[0], ImageOrientationPatient=[0, 1, 0, 0, 0, 1], **SCOUT)
    write_slice(series / "SR.dcm", HU[0], SeriesInstanceUID="1.2.8", **REPORT)
    (series / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    np.testing.assert_array_equal(describe_dicom(series).standard()[0], HU)
    assert identify(series) == identify(series / "IM0")


def test_the_stamp_notices_every_slice(tmp_path):
    series = write_series(tmp_path / "a")
    for file in series.iterdir():
        os.utime(file, ns=(5, 5))
    before = stamp(series)
    assert before == stamp(series / "IM1")
    os.utime(series / "IM2", ns=(4, 4))  # an older copy of the same size
    assert stamp(series) != before
