"""Volumes in a table: its rows, the splits, the data set and every error."""

import os

import nibabel as nib
import numpy as np
import pytest
from data_sets import nifti, refused

from assl_jax.data import load

WINDOW = (-500, 500)


def save(path, value, shape=(2, 3, 4)):
    """A volume of `value`, except one voxel, which is one more."""
    array = np.full(shape, value, np.int16)
    array[0, 0, 0] += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti(path, array)


def table(root, *lines):
    (root / "volumes.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def scans(tmp_path):
    """Files 0 to 9 without a table; the values of file i are 10 i."""
    root = tmp_path / "scans"
    for i in range(10):
        save(root / f"deep/{i}.nii.gz", 10 * i)
    return root


def opened(root, **settings):
    return load("volumes", **({"path": str(root), "window": WINDOW} | settings))


def row(i, rest):
    return f"deep/{i}.nii.gz,{rest}"


def values(data, index=slice(None)):
    return data.images[index][:, 1, 1, 1, 0].tolist()


def with_splits(root, extra=()):
    """Train 0..3, test 4..6, unlabeled 7..9."""
    lines = [f"deep/{i}.nii.gz,{'ab'[i % 2]},{'train' if i < 4 else 'test'}" for i in range(7)]
    lines += [f"deep/{i}.nii.gz,,unlabeled" for i in range(7, 10)]
    table(root, "path,label,split", *lines, *extra)
    return root


def test_given_splits(scans):
    data = opened(with_splits(scans))
    assert data.images.shape == (10, 2, 3, 4, 1) and data.images.dtype == np.int16
    assert data.name == "volumes" and data.class_names == ("a", "b") and data.skipped == ()
    assert values(data) == list(range(0, 100, 10))  # the table's order
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, -1, -1, -1]
    assert data.labels.dtype == np.int32
    assert data.unlabeled.tolist() == [0, 1, 2, 3, 7, 8, 9]
    assert [s.tolist() for s in data.labelled_sets] == [[0, 1, 2, 3]]
    assert data.test.tolist() == [4, 5, 6]
    assert data.keys == tuple(f"deep/{i}.nii.gz" for i in range(10))
    assert len(set(data.patients.tolist())) == 10
    seen = (np.array(data.images[data.unlabeled], float) + 500) / 1000
    assert (data.intensity.low, data.intensity.high) == (-500, 500)
    assert data.intensity.mean == pytest.approx([seen.mean()], abs=1e-6)
    assert data.intensity.std == pytest.approx([seen.std()], abs=1e-6)


@pytest.mark.parametrize(
    "names, expected",
    [(["10", "9", "-2"], ("-2", "9", "10")), (["10", "9", "x"], ("10", "9", "x"))],
)
def test_classes_are_sorted_as_numbers_if_all_are(scans, names, expected):
    lines = [f"deep/{i}.nii.gz,{names[i % 3]},{('train', 'test')[i // 3]}" for i in range(6)]
    lines.append("deep/6.nii.gz,a name that no class has,unlabeled")
    table(scans, "path,label,split", *lines)
    data = opened(scans)
    assert data.class_names == expected
    assert [expected[k] for k in data.labels[:6]] == names * 2 and data.labels[6] == -1


def test_drawn_splits_keep_patients_together(scans):
    lines = [f"deep/{i}.nii.gz,{'ab'[i % 2]},p{i // 4}{i % 2}" for i in range(10)]
    table(scans, "path,label,patient", *lines)  # a: p00 p10 p20, b: p01 p11 p21
    first, again = (opened(scans, test_fraction=0.34) for _ in range(2))
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.unlabeled, first.labelled_sets[0])
    tests = set()
    for seed in range(8):
        data = opened(scans, test_fraction=0.34, seed=seed)
        sides = data.patients[data.unlabeled], data.patients[data.test]
        assert not np.intersect1d(*sides).size
        assert set(data.labels[data.test]) == {0, 1}
        assert sorted([*data.unlabeled, *data.test]) == list(range(10))
        tests.add(tuple(data.test.tolist()))
    assert len(tests) > 1
    # Volumes 0 and 2 are of one patient, volume 4 is of another.
    assert data.patients[0] == data.patients[2] != data.patients[4]


def test_foreground_cropping_is_asked_for(scans):
    with_splits(scans)
    for i in range(10):  # a volume of zeros, except one voxel
        save(scans / f"deep/{i}.nii.gz", 0)
    data = opened(scans, crop_foreground=True, shape=(2, 2, 2))
    assert (data.images == 1).all()
    data = opened(scans, shape=(2, 3, 4))
    assert values(data) == [0] * 10


@pytest.mark.parametrize("cached", [False, True])
def test_skipped_files_are_listed_and_their_neighbours_stay(scans, tmp_path, cached):
    with_splits(scans, ["gone.nii,b,train", "deep/3.nii.gz,b,test"])
    (scans / "deep/0.nii.gz").write_bytes(b"broken")
    (scans / "deep/8.nii.gz").write_bytes(b"")
    cache = str(tmp_path / "cache") if cached else ""
    table_lines = (scans / "volumes.csv").read_text().splitlines()
    assert (
        f"{scans / 'deep/3.nii.gz'} cannot be used: it is listed 2 times, in rows 5, 13"
        in refused("volumes", scans, cache=cache)
    )
    table(scans, *table_lines[:-2])
    message = refused("volumes", scans, cache=cache)
    assert f"{scans / 'deep/0.nii.gz'} cannot be used" in message and "on_error=skip" in message

    table(scans, *table_lines)
    data = opened(scans, cache=cache, on_error="skip")
    assert [line.split(":")[0] for line in data.skipped] == [
        *("deep/0.nii.gz", "deep/3.nii.gz", "deep/8.nii.gz", "gone.nii")
    ]
    assert data.skipped[1] == "deep/3.nii.gz: it is listed 2 times, in rows 5, 13"
    assert data.skipped[3] == "gone.nii: No such file or directory"
    assert values(data) == [10, 20, 40, 50, 60, 70, 90]
    assert data.labels.tolist() == [1, 0, 0, 1, 0, -1, -1]
    assert data.unlabeled.tolist() == [0, 1, 5, 6] and data.test.tolist() == [2, 3, 4]
    assert data.labelled_sets[0].tolist() == [0, 1]
    assert len(data.patients) == 7

    (scans / "deep/5.nii.gz").write_bytes(b"broken")  # the only b among the test volumes
    message = refused("volumes", scans, cache=cache, on_error="skip")
    assert "class 'b' has no test volumes; 5 files were skipped" in message


@pytest.mark.parametrize(
    "settings",
    [{"labels": -1}, {"seed": -1}, {"foreground_above": np.nan, "crop_foreground": True}],
)
def test_bad_settings(scans, settings):
    assert f"data.{next(iter(settings))}=" in refused("volumes", with_splits(scans), **settings)


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
