"""One file has one name, and every file is found, however folders and tables are written."""

import shutil

import numpy as np
import pytest
from dicom_writers import write_slice
from PIL import Image

from assl_jax.commands.write_phantom import write_phantom
from assl_jax.data import load
from assl_jax.data.names import one_name_each
from assl_jax.data.splits import patient_classes
from assl_jax.data.volume_folder import find_volumes


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


@pytest.fixture
def heads(tmp_path):
    """NIfTI files."""
    write_phantom(tmp_path / "heads", volumes=8, shape=(8, 8, 8), labels=4, test=4)
    return sorted((tmp_path / "heads").glob("*.nii.gz"))


def test_every_volume_of_a_folder_is_found(tmp_path, heads):
    root = tmp_path / "all"
    for i, place in enumerate(["", "inside", "p0.nii"]):  # a folder may end as files do
        (root / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(heads[i], root / place / f"{i}.nii.gz")
    write_slice(root / "scan.dcm", np.zeros((4, 4), np.int16))
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(heads[3], tmp_path / "elsewhere" / "3.nii.gz")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "link_up").symlink_to(root)
    assert find_volumes(root).volumes == [
        root,  # the series of the slice
        root / "0.nii.gz",
        root / "inside" / "1.nii.gz",
        root / "link" / "3.nii.gz",
        root / "p0.nii" / "2.nii.gz",
    ]


def test_a_table_of_patients_changes_no_other_image(tmp_path):
    for i in range(8):
        picture(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", i)
    for i in range(5):
        picture(tmp_path / "unlabeled" / f"{i}.png", 100 + i)
    plain = load("folder", path=str(tmp_path))
    lines = [f"train/{'ab'[i % 2]}/{i}.png,p{i}" for i in range(8)]
    lines += [f"unlabeled/{i}.png,q{i}" for i in range(5)]
    (tmp_path / "who.csv").write_text("\n".join(["path,patient", *lines]))
    known = load("folder", path=str(tmp_path), csv="who.csv")
    assert len(plain.unlabeled) == len(known.unlabeled) == 5
    assert plain.intensity == known.intensity


def test_long_numbers_are_different_classes():
    names = ["12345678901234567", "12345678901234568"]
    assert len(set(one_name_each(names, "list.csv").values())) == 2


def test_the_class_of_a_patient():
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    expected = [
        max(range(3), key=lambda k, p=p: (np.sum(labels[patients == p] == k), -k))
        for p in np.unique(patients)
    ]
    np.testing.assert_array_equal(patient_classes(labels, patients), expected)
