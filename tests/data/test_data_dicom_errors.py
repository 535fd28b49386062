"""DICOM series that are no volume, and series in a table: errors, patients, skipped ones."""

import functools
import sys

import numpy as np
import pydicom
import pytest
from dicom_writers import NO_PIXELS, SCOUT, item, write_series, write_slice

from assl_jax.data import load
from assl_jax.data.dicom import describe_dicom
from assl_jax.data.volume_file import read_volume
from assl_jax.errors import InputError

PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
series = functools.partial(write_series, array=[PIXELS] * 5, names="s{}", apart=2)


def test_several_series_are_named(tmp_path):
    series(tmp_path)
    write_slice(tmp_path / "z.dcm", PIXELS, SeriesInstanceUID="1.2.4", Modality="MR")
    words = r"holds 2 series: .*name one file.*s0 \(CT, 5 files\), z\.dcm \(MR, 1 files\)"
    with pytest.raises(ValueError, match=words):
        describe_dicom(tmp_path).standard()
    assert describe_dicom(tmp_path / "s3").standard()[0].shape == (5, 3, 4)


def test_folders_without_slices(tmp_path):
    plan = {"kind": pydicom.uid.RTStructureSetStorage, "Modality": "RTSTRUCT"}
    write_slice(tmp_path / "a" / "plan", PIXELS, **plan, **NO_PIXELS)
    write_slice(tmp_path / "a" / "scout", PIXELS, **SCOUT)
    for path in (tmp_path / "a", tmp_path / "a" / "plan"):
        with pytest.raises(ValueError, match="no image slices, only localisers or objects"):
            describe_dicom(path).standard()
    with pytest.raises(ValueError, match="a folder without DICOM slices; name the folder of one"):
        read_volume(tmp_path, None)


def rows(root, *lines):
    (root / "volumes.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def scans(tmp_path):
    """Six series a0 b0 a1 b1 a2 b2 of the patients p0 p1 p2, in a table with splits."""
    for k, name in enumerate(("a0", "b0", "a1", "b1", "a2", "b2")):
        who = f"p{k // 2}"
        uid = f"1.2.{k + 10}"
        series(tmp_path / name, pixels=PIXELS + k, PatientID=who, SeriesInstanceUID=uid)
    return tmp_path


def opened(root, **settings):
    return load("volumes", path=str(root), window=(-100, 100), **settings)


SPLIT = ["path,label,split", "a0,a,train", "b0,b,train", "a1,a,train", "b1,b,train"]
SPLIT += ["a2,a,test", "b2,b,test"]


def test_series_in_a_table(scans, tmp_path):
    rows(scans, *SPLIT)
    for data in (opened(scans), opened(scans, cache=str(tmp_path / "cache"))):
        assert data.images.shape == (6, 5, 3, 4, 1)
        for k in range(6):
            np.testing.assert_array_equal(data.images[k][0, ..., 0], PIXELS + k)
        first, second = data.patients.reshape(3, 2).T
        assert (first == second).all() and len(set(first)) == 3
    (scans / "a1" / "s3").touch()
    opened(scans, cache=str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").glob("[!.]*"))) == 2


def test_patients_come_from_the_table_or_from_the_files(scans):
    rows(scans, "path,label", *(f"{c}{k},{c}" for k in range(3) for c in "ab"))
    for seed in range(4):
        data = opened(scans, test_fraction=0.34, seed=seed)
        assert not np.intersect1d(data.patients[data.test], data.patients[data.unlabeled]).size
        assert len(set(data.patients.tolist())) == 3
    rows(scans, "path,label,patient", *(f"{c}{k},{c},{c}{k}" for k in range(3) for c in "ab"))
    assert len(set(opened(scans).patients.tolist())) == 6


def test_a_patient_on_both_sides(scans):
    lines = [line.replace("b1,b,train", "b1,b,test") for line in SPLIT]
    rows(scans, *lines)
    words = r"row 6: patient 'PatientID #\w{12}' is in test|patient 'PatientID #\w{12}' is in train"
    with pytest.raises(InputError, match=words) as caught:
        opened(scans)
    assert "p1" not in str(caught.value)


def test_a_series_listed_by_its_folder_and_by_a_file(scans):
    rows(scans, *SPLIT, "a1/s3,a,train")
    with pytest.raises(InputError, match="a1 cannot be used: it is listed 2 times, in rows 4, 8"):
        opened(scans)


def test_one_line_or_a_reason(scans):
    (scans / "b1" / "s2").unlink()
    rows(scans, *SPLIT)
    words = "CT series 7: slices are missing or unevenly spaced: s1 and s3 are 4 mm apart"
    with pytest.raises(InputError, match=f"b1 cannot be used: {words}.*on_error=skip") as caught:
        opened(scans)
    assert "\n" not in str(caught.value)
    data = opened(scans, on_error="skip")
    assert len(data.images) == 5 and data.skipped[0].startswith(f"b1: {words}")


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_without_pydicom(scans, monkeypatch, on_error):
    rows(scans, *SPLIT)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match="^DICOM files need pydicom; run: pip install pydicom$"):
        opened(scans, on_error=on_error)


def test_an_element_of_an_unknown_kind_is_a_broken_file(tmp_path):
    folder = series(tmp_path)
    content = (folder / "s1").read_bytes()
    uid = b"\x20\0\x0e\0UI"  # SeriesInstanceUID
    assert content.count(uid) == 1
    (folder / "s1").write_bytes(content.replace(uid, uid[:4] + b"UM"))
    for path in (folder, folder / "s0"):
        with pytest.raises(ValueError, match="s1 is broken: Unknown Value Representation"):
            describe_dicom(path).standard()


def test_elements_of_another_kind(tmp_path):
    """A number where texts are, and texts where a sequence is."""
    folder = series(tmp_path / "a", ImageType=["12"])
    for file in folder.iterdir():
        content = file.read_bytes()
        assert content.count(b"\x08\0\x08\0CS") == 1
        file.write_bytes(content.replace(b"\x08\0\x08\0CS", b"\x08\0\x08\0IS"))
    assert describe_dicom(folder).standard()[0].shape == (5, 3, 4)
    folder = series(tmp_path / "b", changes={2: {"SharedFunctionalGroupsSequence": [item()]}})
    content, shared = (folder / "s2").read_bytes(), b"\x00\x52\x29\x92"
    at = content.index(shared)
    (folder / "s2").write_bytes(content[: at + 4] + b"IS\x02\x0012" + content[at + 20 :])
    with pytest.raises(ValueError, match="s2 is broken: "):
        describe_dicom(folder).standard()


def test_what_pydicom_says_of_a_file_is_not_shown(tmp_path, caplog):
    """A slice is cut off inside its sequence, for which pydicom logs and warns."""
    folder = series(tmp_path, SourceImageSequence=[item()])
    file = folder / "s1"
    content = file.read_bytes()
    at = content.index(b"\x08\0\x12\x21SQ")
    file.write_bytes(content[: at + 8] + b"\xff" * 4 + content[at + 12 :])
    with pytest.raises(ValueError, match="s1"):
        describe_dicom(folder).standard()
    assert not caplog.records
