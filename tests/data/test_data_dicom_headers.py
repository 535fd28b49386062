"""Folders and tables of DICOM images: what headers say of patients, series and other objects."""

import sys

import numpy as np
import pytest
from dicom_writers import REPORT, XRAY, write_slice

from assl_jax.data import load
from assl_jax.data.file_reader import reader_of
from assl_jax.errors import InputError


@pytest.fixture
def clinic(tmp_path):
    """`clinic(patient)`: two classes of six 12-bit X-rays; `patient(class, number)` is the ID."""

    def write(patient=lambda c, i: "", **elements):
        rng = np.random.default_rng(0)
        for c in "ab":
            for i in range(6):
                write_slice(
                    tmp_path / "train" / c / f"{c}{i}.dcm",
                    rng.integers(0, 4096, (4, 4), dtype=np.uint16),
                    **XRAY | {"BitsStored": 12, "PatientID": patient(c, i) or None} | elements,
                )
        return tmp_path

    return write


def read(root, **settings):
    return load("folder", path=str(root), **settings)


def test_patients_of_the_headers(clinic):
    data = read(clinic(lambda c, i: f"Secret {c}{i // 2}"))
    assert len(set(data.patients.tolist())) == 6
    assert not set(data.patients[data.test]) & set(data.patients[data.unlabeled])
    assert "the DICOM images are of 6 patients by their PatientID" in data.notes
    assert not any("Secret" in note for note in data.notes)
    named = read(clinic(lambda c, i: f"Secret {c}{i // 2}"), patient="/([ab][0-9])")
    assert len(set(named.patients.tolist())) == 12


def test_some_images_without_a_patient(clinic):
    data = read(clinic(lambda c, i: f"{c}{i}" if i < 4 else "unknown"))
    assert len(set(data.patients.tolist())) == 12
    assert "4 DICOM images have no PatientID; each is taken for another patient" in data.notes


def test_without_pydicom(clinic, monkeypatch):
    root = clinic()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match="DICOM files need pydicom; run: pip install pydicom"):
        read(root)


@pytest.mark.parametrize("name", ["", "ANONYMOUS", "NA", "X17"])
def test_one_name_for_all_is_no_patient(clinic, name):
    data = read(clinic(lambda c, i: name))
    assert data.patients is None
    said = "all DICOM images have one PatientID, so their patients are unknown"
    assert (said in data.notes) == (name == "X17")


def test_images_without_a_range_are_counted(clinic):
    root = clinic()
    assert any(note.startswith("12 DICOM images do not say how") for note in read(root).notes)
    assert not any("do not say" in note for note in read(root, window=(0, 4095)).notes)
    clinic(WindowCenter=2048, WindowWidth=4096)
    assert not any("do not say" in note for note in read(root).notes)


def test_slices_of_a_series_are_a_volume(clinic):
    series = {"Modality": "CT", "SeriesInstanceUID": "1.2", "ImagePositionPatient": [0, 0, 1]}
    root = clinic()
    read(root)
    with pytest.raises(InputError, match="a0.dcm is one of 12 slices of a CT series.*mtassl_vol"):
        read(clinic(**series))


def test_objects_that_are_no_images_are_left_out(clinic):
    root = clinic()
    write_slice(root / "train/a/report", np.zeros((2, 2), "u1"), **REPORT)
    data = read(root)
    assert len(data.images) == 12
    assert "1 DICOM files are no images (Basic Text SR Storage) and are left out" in data.notes
    broken = root / "train/a/a0.dcm"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(InputError, match="a0.dcm cannot be used"):
        read(root)
    assert len(read(root, on_error="skip").images) == 11


def test_a_table_and_unlabeled_folders(clinic, tmp_path):
    root = clinic()
    lines = [f"{c}{i},{c}" for c in "ab" for i in range(6)]  # as RSNA's table: a name alone
    (root / "list.csv").write_text("patientId,Target\n" + "\n".join(lines))
    table = read(root, csv="list.csv", columns="path=patientId,label=Target,patient=patientId")
    assert table.class_names == ("a", "b") and len(set(table.patients.tolist())) == 12
    (root / "train").rename(root / "unlabeled")
    assert len(read(root).unlabeled) == 12


def test_new_files_are_read_as_the_data_were(clinic, capsys):
    root = clinic(WindowCenter=2048, WindowWidth=4096)
    (root / "train/a/notes.txt").write_text("no image")
    data = read(root, channels=3)
    reader = reader_of(data)
    found = reader.find(root / "train")
    assert "files that are no images: .txt (1)" in capsys.readouterr().err
    kept = {image.tobytes() for image in data.images}
    assert {reader.read(file).tobytes() for file in found} == kept
