"""Folders as people have them: names of splits, validation images, patients, tables, no labels."""

import unicodedata

import numpy as np
import pytest
from data_sets import picture, refused, values

from assl_jax.data import load


def read(root, **settings):
    return load("folder", path=str(root), **settings)


def classes(root, first, n=3):
    """Two classes with the values first, first + 1, ...."""
    for k, c in enumerate(("ant", "cat")):
        for i in range(n):
            picture(root / c / f"{i}.png", first + n * k + i)


@pytest.mark.parametrize(
    "train, test, unlabeled",
    [
        ("Training", "Testing", "unlabelled"),
        ("TRAIN", "TEST", "Unsup"),
        ("training_set", "test set", "unlabeled_images"),
    ],
)
def test_other_names_of_the_splits(tmp_path, train, test, unlabeled):
    classes(tmp_path / train, 100)
    classes(tmp_path / test, 200)
    picture(tmp_path / unlabeled / "deep/x.png", 9)
    data = read(tmp_path)
    assert data.class_names == ("ant", "cat") and data.notes == ()
    assert values(data, data.labelled_sets[0]) == list(range(100, 106))
    assert values(data, data.test) == list(range(200, 206))
    assert values(data, data.unlabeled) == [9]


def test_validation_images(tmp_path):
    classes(tmp_path / "train", 100)
    classes(tmp_path / "Valid", 150)
    classes(tmp_path / "test", 200)
    found = {val: read(tmp_path, val=val) for val in ("train", "unlabeled", "test", "ignore")}
    train, extra, test = list(range(100, 106)), list(range(150, 156)), list(range(200, 206))
    assert values(found["train"], found["train"].labelled_sets[0]) == train + extra
    assert values(found["train"], found["train"].test) == test
    assert values(found["unlabeled"], found["unlabeled"].labelled_sets[0]) == train
    assert values(found["unlabeled"], found["unlabeled"].unlabeled) == train + extra
    assert values(found["test"], found["test"].test) == extra + test
    assert values(found["ignore"], slice(None)) == train + test
    use = {"train": "used as training images", "ignore": "ignored"}
    for val, words in use.items():
        assert found[val].notes == (f"6 validation images are {words} (data.val={val})",)
    assert read(tmp_path).notes == found["train"].notes


def test_a_class_may_be_called_valid(tmp_path):
    for name in ("valid", "invalid"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.png", i)
    assert read(tmp_path).class_names == ("invalid", "valid")


def test_what_is_ignored_is_named(tmp_path):
    classes(tmp_path / "train", 100)
    classes(tmp_path / "test", 200)
    picture(tmp_path / "backup/old.png")
    picture(tmp_path / "train/beside.png")
    (tmp_path / "train/ant/notes.txt").write_text("text")
    picture(tmp_path / "@eaDir/ant/thumb.png")
    assert read(tmp_path).notes == (
        "1 images next to the class folders are ignored",
        "no images in train/ant/: .txt (1)",
        "ignored next to train/: backup/",
    )


def test_masks_are_no_images(tmp_path):
    classes(tmp_path / "train", 100)
    for c in ("ant", "cat"):
        for i in range(3):
            picture(tmp_path / f"train/{c}/{i}_mask.png", 1)
    data = read(tmp_path)
    assert len(data.images) == 6 and data.images.min() == 100
    assert "6 masks are left out, such as train/ant/0_mask.png of train/ant/0.png" in data.notes


def test_unlabeled_images_and_their_masks(tmp_path):
    for name in ("images", "masks"):
        for i in range(3):
            picture(tmp_path / "unlabeled" / name / f"{i}.png")
    assert len(read(tmp_path).unlabeled) == 3


def test_unlabeled_images_alone(tmp_path):
    for root in (tmp_path / "flat", tmp_path / "split/unlabelled"):
        for i in range(4):
            picture(root / f"{i}.png", i)
    for root in (tmp_path / "flat", tmp_path / "split"):
        data = read(root)
        assert values(data, data.unlabeled) == [0, 1, 2, 3]
        assert (data.class_names, data.labelled_sets, len(data.test)) == ((), (), 0)
        assert data.fingerprint(data.unlabeled) and data.test_patients is None


def test_a_new_photo_moves_no_other(tmp_path):
    classes(tmp_path, 0, n=60)
    before = read(tmp_path)
    assert 8 <= len(before.test) <= 40
    picture(tmp_path / "ant/new.png", 250)
    picture(tmp_path / "cat/000.png", 251)
    after = read(tmp_path)
    assert set(values(before, before.test)) == set(values(after, after.test)) - {250, 251}
    assert set(values(before, before.test)) != set(values(read(tmp_path, seed=1), before.test))
    (tmp_path / "train").mkdir()
    for c in ("ant", "cat"):  # nor does the other layout
        (tmp_path / c).rename(tmp_path / "train" / c)
    moved = read(tmp_path)
    assert values(moved, moved.test) == values(after, after.test)


def people(tmp_path):
    for k, c in enumerate(("ill", "well")):
        for p in range(6):
            for s in range(3):
                picture(tmp_path / c / f"p{k}{p}" / f"{s}.png", 20 * (6 * k + p) + s)


def test_patients_by_a_regular_expression(tmp_path):
    people(tmp_path)
    data = read(tmp_path)
    assert data.patients is None
    assert "ill/p00/0.png; if each is one patient, set data.patient='([^/]+)/[^/]+$'" in str(
        data.notes
    )
    data = read(tmp_path, patient="([^/]+)/[^/]+$")
    who = data.images[:, 0, 0, 0] // 20
    assert data.notes == () and len(set(data.patients.tolist())) == 12
    assert all(len(set(who[data.patients == p])) == 1 for p in data.patients)
    assert not set(who[data.test]) & set(who[data.unlabeled])
    np.testing.assert_array_equal(read(tmp_path, patient="p[0-9]+").test, data.test)


def test_a_table_adds_patients(tmp_path):
    classes(tmp_path, 0, n=4)
    lines = [f"{c}/{i}.png;person {i // 2}{c}" for c in ("ant", "cat") for i in range(4)]
    (tmp_path / "who.csv").write_text("path;patient\n" + "\n".join(lines))
    data = read(tmp_path, csv="who.csv")
    assert len(set(data.patients.tolist())) == 4 and len(data.test) == 4
    assert not set(data.patients[data.test]) & set(data.patients[data.unlabeled])
    (tmp_path / "who.csv").write_text("path;patient\n" + "\n".join([*lines, lines[0]]))
    assert "ant/0.png cannot be used: it is listed 2 times, in rows 2, 10" in refused(
        "folder", tmp_path, csv="who.csv"
    )


def test_a_table_of_patients_changes_no_other_image(tmp_path):
    classes(tmp_path / "train", 0, n=4)
    for i in range(5):
        picture(tmp_path / f"unlabeled/{i}.png", 100 + i)
    plain = read(tmp_path)
    lines = [f"{key},p{i}" for i, key in enumerate(plain.keys)]
    (tmp_path / "who.csv").write_text("\n".join(["path,patient", *lines]))
    known = read(tmp_path, csv="who.csv")
    assert len(plain.unlabeled) == len(known.unlabeled) == 5
    assert plain.intensity == known.intensity


def test_a_table_lists_images(tmp_path, monkeypatch):
    for i in range(8):
        picture(tmp_path / f"all/{i}.png", i)
    split = ["train"] * 4 + ["Validation", "test", "testing", "unlabelled"]
    label = ["10", "9", "10", "NA", "9", "9", "10", "10"]
    rows = [f"all\\{i}.png\t{label[i]}\t{split[i]}\tleft" for i in range(8)]
    text = "path\tlabel\tsplit\teye side\n" + "\n".join(rows)
    (tmp_path / "list.csv").write_text(text, encoding="utf-16")
    monkeypatch.setenv("HOME", str(tmp_path))
    for csv in ("list.csv", "~/list.csv"):
        data = read(tmp_path, csv=csv)
    assert data.class_names == ("9", "10")
    assert values(data, data.labelled_sets[0]) == [0, 1, 2, 4]
    assert values(data, data.test) == [5, 6]
    assert values(data, data.unlabeled) == [0, 1, 2, 3, 4, 7]
    assert [data.class_names[k] for k in data.labels[data.test]] == ["9", "10"]
    assert len(data.notes) == 3 and "'eye side' speak of sides" in data.notes[0]
    assert data.notes[2] == "1 images without a label ('NA') are unlabeled"


def test_unlabeled_images_of_test_patients_are_left_out(tmp_path):
    for i in range(24):
        picture(tmp_path / f"{i}.png", i)
    lines = [f"{i}.png,{'' if i % 3 == 2 else 'ab'[i // 3 % 2]},{i // 3}" for i in range(24)]
    (tmp_path / "list.csv").write_text("path,label,patient\n" + "\n".join(lines))
    data = read(tmp_path, csv="list.csv", test_fraction=0.3)
    tested = len(data.test) // 2
    assert f"{tested} unlabeled images of test patients are left out" in data.notes
    assert len(data.images) == 24 - tested
    assert not set(data.patients[data.test]) & set(data.patients[data.unlabeled])


def test_class_names_in_any_script_and_one_form(tmp_path):
    name = "caf\u00e9"
    for split, form in (("train", "NFC"), ("test", "NFD")):
        for c in (unicodedata.normalize(form, name), "\u732b <b>", "left"):
            picture(tmp_path / split / c / "x.png")
    data = read(tmp_path)
    assert data.class_names == (name, "left", "\u732b <b>")
    assert "is also written" in data.notes[0] and "'left' speak of sides" in data.notes[1]


def test_names_that_are_no_unicode(tmp_path):
    classes(tmp_path, 1)
    picture(tmp_path / "ant/a.png").rename(tmp_path / "ant/\udce9.png")
    (tmp_path / "ant/bad\udce9.png").write_bytes(b"")
    assert refused("folder", tmp_path).isprintable()
    data = read(tmp_path, on_error="skip")
    (line,) = data.skipped
    assert line.isprintable() and len(data.images) == 7
