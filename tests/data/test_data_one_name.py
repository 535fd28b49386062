"""One file has one name, and every file is found, however folders and tables are written."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from assl_jax.commands.write_phantom import write_phantom
from assl_jax.data import load
from assl_jax.data.names import one_name_each
from assl_jax.data.splits import patient_classes
from assl_jax.data.volume_folder import find_volumes
from assl_jax.errors import InputError


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


def test_a_file_listed_by_two_names_is_listed_twice(tmp_path):
    lines = ["path,label,split"]
    for i in range(4):
        picture(tmp_path / f"{i}.png", i)
        lines.append(f"{i}.png,{'ab'[i % 2]},{'train' if i < 2 else 'test'}")
    lines.append(f"{tmp_path}/0.png,a,test")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match="used: it is listed 2 times, in rows 2, 6"):
        load("folder", path=str(tmp_path), csv="list.csv")


def test_folders_that_look_alike_do_not_share_a_cache_entry(tmp_path):
    means = []
    for name, value in (("one", 10), ("two", 200)):
        for i in range(8):
            file = tmp_path / name / "ab"[i % 2] / f"{i}.bmp"
            picture(file, value + i)
            os.utime(file, (10**9, 10**9))
        data = load("folder", path=str(tmp_path / name), cache=str(tmp_path / "cache"))
        means.append(data.images.mean())
    assert means == [13.5, 203.5]


@pytest.fixture
def heads(tmp_path):
    """NIfTI files."""
    write_phantom(tmp_path / "heads", volumes=8, shape=(8, 8, 8), labels=4, test=4)
    return sorted((tmp_path / "heads").glob("*.nii.gz"))


def test_every_volume_of_a_folder_is_found(tmp_path, heads, write_slice):
    root = tmp_path / "all"
    for i, place in enumerate(["", "inside", "p0.nii"]):  # a folder may end as files do
        (root / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(heads[i], root / place / f"{i}.nii.gz")
    write_slice(root / "scan.dcm", np.zeros((4, 4), np.int16), ImagePositionPatient=[0, 0, 0])
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


@pytest.mark.parametrize(
    ("label", "says"), [(10**9, "labels reach 1000000000"), (np.inf, "fractions or infinite")]
)
def test_labels_that_are_no_classes(tmp_path, label, says):
    labels = np.array([0, 1, 0, label])
    images = np.zeros((4, 5, 5), np.uint8)
    np.savez(
        tmp_path / "a.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=np.array([0, 1, 0, 1]),
    )
    with pytest.raises(InputError, match=says):
        load("npz", path=str(tmp_path / "a.npz"))


def test_the_class_of_a_patient():
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    expected = [
        max(range(3), key=lambda k, p=p: (np.sum(labels[patients == p] == k), -k))
        for p in np.unique(patients)
    ]
    np.testing.assert_array_equal(patient_classes(labels, patients), expected)
