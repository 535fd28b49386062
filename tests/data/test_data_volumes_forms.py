"""Volumes in tables as people write them, and without any label."""

import os

import nibabel as nib
import numpy as np
import pytest

from assl_jax.data import load
from assl_jax.data.volume_folder import find_volumes
from assl_jax.errors import InputError


@pytest.fixture
def scans(tmp_path):
    """Files 0 to 9 without a table; the values of file i are 10 i."""
    (tmp_path / "deep").mkdir()
    for i in range(10):
        image = nib.Nifti1Image(np.full((2, 3, 4), 10 * i, np.int16), np.eye(4))
        image.to_filename(tmp_path / f"deep/{i}.nii.gz")
    return tmp_path


def table(root, *lines):
    (root / "volumes.csv").write_text("\n".join(lines) + "\n")


def row(i, rest):
    return f"deep/{i}.nii.gz,{rest}"


def opened(root, **settings):
    return load("volumes", path=str(root), window=(-500, 500), **settings)


def error(root, **settings) -> str:
    with pytest.raises(InputError) as caught:
        opened(root, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def values(data, index):
    return data.images[index][:, 1, 1, 1, 0].tolist()


def test_missing_labels_spellings_and_validation_volumes(scans):
    labels = ["1", "0", "1.0", "0", "NA", "nan", "", "-1", "1", "0"]
    splits = ["train"] * 2 + ["Validation"] * 2 + ["train", "valid"] + ["unlabelled"] * 2
    splits += ["Testing", "TEST"]
    rows = [f"deep\\{i}.nii.gz;{labels[i]};{splits[i]}" for i in range(10)]
    table(scans, "path;label;split", *rows)
    data = opened(scans)
    assert data.class_names == ("0", "1")
    assert data.labels.tolist() == [1, 0, 1, 0, -1, -1, -1, -1, 1, 0]
    assert data.labelled_sets[0].tolist() == [0, 1, 2, 3] and data.test.tolist() == [8, 9]
    assert data.notes == (
        "3 validation volumes are used as training volumes (data.val=train)",
        "2 volumes without a label ('NA', 'nan') are unlabeled",
        "class '1' is also written '1.0'",
    )
    assert opened(scans, val="ignore").labelled_sets[0].tolist() == [0, 1]


def test_orientations_that_differ(scans, tmp_path):
    """Three files that are not LPS, in memory and with a cache."""
    assert not any("turned" in note for note in opened(scans).notes)
    left = np.diag([-1, -1, 1, 1])
    for i, affine in enumerate([left] * 7 + [left[[2, 1, 0, 3]], np.eye(4), np.eye(4)]):
        image = nib.Nifti1Image(
            np.full((2, 3, 4)[:: -1 if i == 7 else 1], 10 * i, np.int16), affine
        )
        image.to_filename(scans / f"deep/{i}.nii.gz")
    line = "3 of 10 volumes were turned: LPS 7, RAS 2, IPR 1"
    assert opened(scans).notes[-1] == line
    for _ in range(2):
        assert opened(scans, cache=str(tmp_path / "cache")).notes[-1] == line


def test_unlabeled_volumes_alone(scans):
    table(scans, "path,label,split", *(row(i, ",unlabeled") for i in range(10)))
    listed = opened(scans)
    os.remove(scans / "volumes.csv")
    (scans / "__MACOSX").mkdir()
    (scans / "__MACOSX/0.nii").write_bytes(b"")
    found = opened(scans)
    assert found.notes == ("there is no volumes.csv: all 10 volumes are unlabeled",)
    for data in (listed, found):
        assert data.class_names == () and data.labelled_sets == () and len(data.test) == 0
        assert values(data, data.unlabeled) == list(range(0, 100, 10))
    assert "no labelled volumes" in error(scans, labels=2)


def test_patients_by_a_regular_expression(scans):
    table(scans, "path,label", *(row(i, "ab"[i % 2]) for i in range(10)))
    data = opened(scans, patient="[0-9]")
    assert len(set(data.patients.tolist())) == 10
    assert "finds nothing" in error(scans, patient="[5-9]")
    table(scans, "path,label,patient", *(row(i, f"{'ab'[i % 2]},p{i}") for i in range(10)))
    assert "both name the patients" in error(scans, patient="[0-9]")


def test_a_new_volume_moves_no_other(scans):
    rows = [row(i, "ab"[i % 2]) for i in range(10)]
    table(scans, "path,label", *rows[:8])
    before = opened(scans, test_fraction=0.4)
    table(scans, "path,label", *rows[::-1])
    after = opened(scans, test_fraction=0.4)
    kept = set(values(after, after.test)) - {80, 90}
    assert set(values(before, before.test)) == kept


def test_volumes_below_more_folders_than_python_calls(tmp_path):
    """`shutil.rmtree`, which tidies up after tests, could not remove them either."""
    folders = [tmp_path / "/".join("d" * n) for n in range(1, 1101)]
    for folder in folders:
        folder.mkdir()
    (folders[-1] / "a.nii").touch()
    try:
        assert find_volumes(tmp_path).volumes == [folders[-1] / "a.nii"]
    finally:
        (folders[-1] / "a.nii").unlink()
        for folder in reversed(folders):
            folder.rmdir()


def test_columns_with_other_names(scans):
    lines = [f"{i // 2},{row(i, ['ad', 'cn'][i % 2])}" for i in range(10)]
    table(scans, "Subject ID,file,dx", *lines)
    assert "has no column path and label; its columns are subject id, file, dx" in error(scans)
    data = opened(scans, columns="path=file,label=dx,patient=Subject ID")
    assert data.class_names == ("ad", "cn") and len(set(data.patients.tolist())) == 5
    assert data.notes == ()
    data = opened(scans, columns="path=file,label=dx")
    assert "set data.columns='patient=subject id' so" in str(data.notes)


def test_spellings_of_one_patient_are_one(scans):
    lines = [row(i, f"{i % 2},{('P{}', 'p{}')[i % 2].format('abcde'[i // 2])}") for i in range(10)]
    table(scans, "path,label,patient", *lines)
    data = opened(scans)
    assert len(set(data.patients.tolist())) == 5 and "only the spelling differs" in str(data.notes)
    table(scans, "path,label,patient", *lines[:3], row(3, "1,unknown"), *lines[4:])
    assert r"volumes.csv row 5 has no patient ('unknown')" in error(scans)
