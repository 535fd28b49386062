"""DICOM series that are no volume, and series in a table: errors, patients, skipped ones."""

import sys

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset as Elements

from assl_jax.data.dicom import read_dicom
from assl_jax.data.volume_file import read_volume
from assl_jax.data.volumes import volumes
from assl_jax.errors import InputError

PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
ABSENT = dict.fromkeys(("Rows", "Columns", "PixelData"))


@pytest.fixture
def series(write_slice):
    """`series(folder, changes, **elements)`: 5 slices, 2 mm apart; `changes[k]` are slice k's."""

    def write(folder, changes=None, /, **elements):
        for k in range(5):
            own = {"ImagePositionPatient": [0, 0, 2 * k]} | elements | (changes or {}).get(k, {})
            write_slice(folder / f"s{k}", own.pop("pixels", PIXELS), **own)
        return folder

    return write


TURNED = [0, 1, 0, 0, 0, 1]
BROKEN = {
    "s3 and s4 are 6 mm apart, others 2 mm": {4: {"ImagePositionPatient": [0, 0, 12]}},
    "s0 and s1 are 3 mm apart, others 2 mm": {0: {"ImagePositionPatient": [0, 0, -1]}},
    "5 slices at 4 positions, such as s1 and s2 at one": {2: {"ImagePositionPatient": [0, 0, 2]}},
    "s2 is shifted 1.60 mm sideways": {2: {"ImagePositionPatient": [0, 1.6, 4]}},
    "different orientations, such as s0 and s2": {2: {"ImageOrientationPatient": TURNED}},
    "different pixel spacings, such as s0 and s1": {1: {"PixelSpacing": [1, 1.01]}},
    "the sizes 3x3 and 3x4": {4: {"pixels": PIXELS[:, :3]}},
    "MONOCHROME1 and MONOCHROME2": {1: {"PhotometricInterpretation": "MONOCHROME1"}},
    "s3 has no ImagePositionPatient": {3: {"ImagePositionPatient": None}},
    "s3 has no ImageOrientationPatient": {3: {"ImageOrientationPatient": None}},
    "s3 has no PixelSpacing": {3: {"PixelSpacing": None}},
    "s3 has no PhotometricInterpretation": {3: {"PhotometricInterpretation": None}},
    "s3 has no Columns": {3: {"Columns": None}},
    "s3 has no BitsStored": {3: {"BitsStored": None}},
    "s1 has ImagePositionPatient, which is not 3 numbers": {1: {"ImagePositionPatient": [0, 0]}},
    "s1 has PixelSpacing (0.0, 1.0), which must be above 0": {1: {"PixelSpacing": [0, 1]}},
    "no two directions at 90 degrees": {1: {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}},
    "s1 has RescaleSlope 0": {1: {"RescaleSlope": 0}},
    "s1 has colours (RGB)": {1: {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}},
    "s1 has colours (PALETTE COLOR)": {1: {"PhotometricInterpretation": "PALETTE COLOR"}},
    "s1 stores 12 of 16 bits up to bit 15": {1: {"BitsStored": 12, "HighBit": 15}},
    "s1 stores 17 of 16 bits": {1: {"BitsStored": 17}},
    "s1 is a mosaic": {1: {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}},
    "s1 has 3 frames without a position for each": {1: {"NumberOfFrames": 3}},
    "s1 has 2 frames, but positions of 1": {
        1: {"NumberOfFrames": 2, "PerFrameFunctionalGroupsSequence": [Elements()]}
    },
    "s1 maps its values by a table": {1: {"ModalityLUTSequence": [Elements()]}},
    "s1 is too short for its 3600000000 pixels": {1: {"Rows": 60000, "Columns": 60000}},
    "s1 has 1 rows": {1: {"Rows": 1}},
    "s1 is compressed as JPEG-LS": {1: {"syntax": pydicom.uid.JPEGLSLossless}},
    "s1 is compressed as MPEG2": {1: {"syntax": pydicom.uid.MPEG2MPML}},
}


@pytest.mark.parametrize("words", BROKEN)
def test_what_is_no_volume(tmp_path, series, words):
    changes = BROKEN[words]
    for own in changes.values():
        if "syntax" in own:
            own["PixelData"] = pydicom.encaps.encapsulate([b"any"])
    folder = series(tmp_path, changes)
    with pytest.raises(ValueError, match="^CT series 7: ") as caught:
        read_dicom(folder)
    message = str(caught.value)
    assert words in message and "\n" not in message and "Secret" not in message


def test_two_positions_are_needed(tmp_path, write_slice):
    write_slice(tmp_path / "a" / "s", PIXELS)
    with pytest.raises(ValueError, match="slices at 1 position"):
        read_dicom(tmp_path / "a")


def test_repeated_positions_are_counted(tmp_path, series):
    series(tmp_path)
    for file in tmp_path.iterdir():
        file.rename(tmp_path / f"first {file.name}")
    series(tmp_path)
    with pytest.raises(ValueError, match="10 slices at 5 positions.*each phase or echo"):
        read_dicom(tmp_path)


def test_several_series_are_named(tmp_path, series, write_slice):
    series(tmp_path)
    write_slice(tmp_path / "z.dcm", PIXELS, SeriesInstanceUID="1.2.4", Modality="MR")
    words = r"holds 2 series: .*name one file.*s0 \(CT, 5 files\), z\.dcm \(MR, 1 files\)"
    with pytest.raises(ValueError, match=words):
        read_dicom(tmp_path)
    assert read_dicom(tmp_path / "s3")[0].shape == (5, 3, 4)


def test_folders_without_slices(tmp_path, write_slice):
    plan = {"kind": pydicom.uid.RTStructureSetStorage, "Modality": "RTSTRUCT"}
    write_slice(tmp_path / "a" / "plan", PIXELS, **plan, **ABSENT)
    write_slice(tmp_path / "a" / "scout", PIXELS, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(ValueError, match="no image slices, only localisers or objects"):
        read_dicom(tmp_path / "a")
    with pytest.raises(ValueError, match="a folder without DICOM slices; name the folder of one"):
        read_volume(tmp_path, None)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("s2", lambda raw: raw[:-5], "the pixels of s2 cannot be decoded"),
        ("s4", lambda raw: raw[:400], "s4 has no Rows; copy it again"),
        ("s4", lambda raw: raw[:190], "s4 has no Rows; copy it again"),
        ("s2", lambda raw: b"", "s2 is empty; copy it again"),
        ("x.DCM", lambda raw: b"text" * 99, "x.DCM does not begin as a DICOM file"),
    ],
)
def test_damaged_files(tmp_path, series, name, content, words):
    file = series(tmp_path) / name
    file.write_bytes(content((tmp_path / "s2").read_bytes()))
    with pytest.raises(ValueError, match=words):
        read_dicom(tmp_path)


def rows(root, *lines):
    (root / "volumes.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def scans(tmp_path, series):
    """Six series a0 b0 a1 b1 a2 b2 of the patients p0 p1 p2, in a table with splits."""
    for k, name in enumerate(("a0", "b0", "a1", "b1", "a2", "b2")):
        who = f"p{k // 2}"
        uid = f"1.2.{k + 10}"
        series(tmp_path / name, pixels=PIXELS + k, PatientID=who, SeriesInstanceUID=uid)
    return tmp_path


def load(root, **settings):
    return volumes(path=str(root), window=(-100, 100), **settings)


SPLIT = ["path,label,split", "a0,a,train", "b0,b,train", "a1,a,train", "b1,b,train"]
SPLIT += ["a2,a,test", "b2,b,test"]


def test_series_in_a_table(scans, tmp_path):
    rows(scans, *SPLIT)
    plain, cached = load(scans), load(scans, cache=str(tmp_path / "cache"))
    for data in (plain, cached):
        assert data.images.shape == (6, 5, 3, 4, 1)
        for k in range(6):
            np.testing.assert_array_equal(data.images[k][0, ..., 0], PIXELS + k)
        first, second = data.patients.reshape(3, 2).T
        assert (first == second).all() and len(set(first)) == 3
    before = plain.origins
    (scans / "a1" / "s3").touch()
    assert [a != b for a, b in zip(load(scans).origins, before, strict=True)] == [
        *(False, False, True, False, False, False)
    ]


def test_patients_come_from_the_table_or_from_the_files(scans):
    rows(scans, "path,label", *(f"{c}{k},{c}" for k in range(3) for c in "ab"))
    for seed in range(4):
        data = load(scans, test_fraction=0.34, seed=seed)
        assert not np.intersect1d(data.patients[data.test], data.patients[data.unlabeled]).size
        assert len(set(data.patients.tolist())) == 3
    rows(scans, "path,label,patient", *(f"{c}{k},{c},{c}{k}" for k in range(3) for c in "ab"))
    assert len(set(load(scans).patients.tolist())) == 6


def test_a_patient_on_both_sides(scans):
    lines = [line.replace("b2,b,test", "b2,b,train") for line in SPLIT]
    rows(scans, *lines, "b1,b,test")
    with pytest.raises(InputError, match="listed 2 times"):
        load(scans)
    lines = [line.replace("b1,b,train", "b1,b,test") for line in SPLIT]
    rows(scans, *lines)
    words = r"row 6: patient 'PatientID #\w{12}' is in test|patient 'PatientID #\w{12}' is in train"
    with pytest.raises(InputError, match=words) as caught:
        load(scans)
    assert "p1" not in str(caught.value)


def test_a_series_listed_by_its_folder_and_by_a_file(scans):
    rows(scans, *SPLIT, "a1/s3,a,train")
    with pytest.raises(InputError, match="a1 cannot be used: it is listed 2 times, in rows 4, 8"):
        load(scans)


def test_one_line_or_a_reason(scans):
    (scans / "b1" / "s2").unlink()
    rows(scans, *SPLIT)
    words = "CT series 7: slices are missing or unevenly spaced: s1 and s3 are 4 mm apart"
    with pytest.raises(InputError, match=f"b1 cannot be used: {words}.*on_error=skip") as caught:
        load(scans)
    assert "\n" not in str(caught.value)
    data = load(scans, on_error="skip")
    assert len(data.images) == 5 and data.skipped[0].startswith(f"b1: {words}")


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_without_pydicom(scans, monkeypatch, on_error):
    rows(scans, *SPLIT)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match="^DICOM files need pydicom; run: pip install pydicom$"):
        load(scans, on_error=on_error)


def test_an_element_of_an_unknown_kind_is_a_broken_file(tmp_path, series):
    folder = series(tmp_path)
    content = (folder / "s1").read_bytes()
    uid = b"\x20\0\x0e\0UI"  # SeriesInstanceUID
    assert content.count(uid) == 1
    (folder / "s1").write_bytes(content.replace(uid, uid[:4] + b"UM"))
    for path in (folder, folder / "s0"):
        with pytest.raises(ValueError, match="s1 is broken: Unknown Value Representation"):
            read_dicom(path)


def test_what_pydicom_says_of_a_file_is_not_shown(tmp_path, series, caplog):
    """A slice is cut off inside its sequence, for which pydicom logs and warns."""
    folder = series(tmp_path, SourceImageSequence=[Elements()])
    file = folder / "s1"
    content = file.read_bytes()
    at = content.index(b"\x08\0\x12\x21SQ")
    file.write_bytes(content[: at + 8] + b"\xff" * 4 + content[at + 12 :])
    with pytest.raises(ValueError, match="s1"):
        read_dicom(folder)
    assert not caplog.records
