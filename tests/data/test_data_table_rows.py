"""Tables whose columns have other names, or hold what is no class."""

import numpy as np
import pytest
from PIL import Image

from assl_jax.data import load
from assl_jax.errors import InputError


@pytest.fixture
def photos(tmp_path):
    """24 images in two folders, as HAM10000 has them."""
    for i in range(24):
        folder = tmp_path / f"images_part_{1 + i // 12}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(folder / f"ISIC_{i}.png")
    return tmp_path


def table(root, first, line, n=24):
    text = "\n".join([first, *(line(i) for i in range(n))])
    (root / "meta.csv").write_text(text)


def read(root, columns="", **settings):
    return load("folder", path=str(root), csv="meta.csv", columns=columns, **settings)


def error(root, columns="", **settings) -> str:
    with pytest.raises(InputError) as caught:
        read(root, columns, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(root), "T")


def path(i):
    return f"images_part_{1 + i // 12}/ISIC_{i}.png"


DX = ("mel", "nv", "bkl")
ONES = ("1,0,0", "0,1,0", "0.0,0.0,1.0")


def test_the_names_that_a_public_table_has(photos):
    table(photos, "lesion_id,Image_ID,dx", lambda i: f"L{i // 2},ISIC_{i},{DX[i // 2 % 3]}")
    assert "T/meta.csv has no column path; its columns are lesion_id, image_id, dx" in error(photos)
    assert "name yours, as in data.columns=path=NAME,label=NAME" in error(photos)
    assert "if dx holds the classes, set data.columns=label=dx" in error(photos, "path=image_id")
    data = read(photos, "path=image_id, label=DX,patient=lesion_id")
    assert data.class_names == ("bkl", "mel", "nv")
    value = data.images[:, 0, 0, 0]
    assert [data.class_names[k] for k in data.labels] == [DX[v // 2 % 3] for v in value]
    assert len(set(data.patients.tolist())) == 12
    (note,) = [note for note in data.notes if "found by their ends" in note]
    assert "ISIC_0 as images_part_1/ISIC_0.png" in note
    data = read(photos, "path=image_id,label=dx")
    assert "set data.columns=patient=lesion_id" in str(data.notes)


def test_folders_never_replace_a_column_of_classes_silently(photos):
    table(photos, "path,patient,dx", lambda i: f"{path(i)},L{i},{DX[i % 3]}")
    assert "set data.columns=label=dx; if the folders are the classes, set data" in error(photos)
    data = read(photos, "label=folders")
    assert data.class_names == ("images_part_1", "images_part_2")
    # A column that cannot hold classes asks nothing.
    table(photos, "path,patient,comment", lambda i: f"{path(i)},L{i},number {i}")
    assert read(photos).class_names == ("images_part_1", "images_part_2")


def test_one_column_for_each_class(photos):
    table(photos, "path,MEL,NV,BKL,age", lambda i: f"{path(i)},{ONES[i % 3]},{20 + i % 3}")
    assert "if mel+nv+bkl (or one of age) holds the classes" in error(photos)
    data = read(photos, "label=MEL+NV+BKL")
    assert data.class_names == ("bkl", "mel", "nv")
    value = data.images[:, 0, 0, 0]
    assert [data.class_names[k] for k in data.labels] == [DX[v % 3] for v in value]
    table(photos, "path,MEL,NV,BKL", lambda i: f"{path(i)},{ONES[i % 3] if i else ',,'}")
    assert (read(photos, "label=mel+nv+bkl").labels == -1).sum() == 1


@pytest.mark.parametrize("cells", ["1,1,0", "0,0,0", "0.5,0.5,0", "1,2,0", "1,,"])
def test_a_row_must_have_one_class(photos, cells):
    table(photos, "path,MEL,NV,BKL", lambda i: f"{path(i)},{ONES[i % 3] if i else cells}")
    words = "row 2 must have 1 in one of the columns mel, nv, bkl and 0 in the others"
    assert words in error(photos, "label=mel+nv+bkl")


def test_one_column_may_be_the_file_and_the_patient(photos):
    table(photos, "patientId,Target", lambda i: f"ISIC_{i},{i % 2}")
    data = read(photos, "path=patientId,patient=patientId,label=Target")
    assert len(set(data.patients.tolist())) == 24


def test_paths_that_begin_above_the_folder(photos):
    table(photos, "path,label", lambda i: f"skin-v1.0/{path(i)},{DX[i % 3]}")
    data = read(photos)
    assert len(data.images) == 24 and "found by their ends" in str(data.notes)


def test_files_beside_those_of_the_table(photos):
    (photos / "images_part_1" / "x.heic").write_bytes(b"heic")
    table(photos, "path,label", lambda i: f"{path(i)},{DX[i % 3]}", n=20)
    assert read(photos).notes == (
        "4 images beside those of the table are not in it, such as images_part_2/ISIC_20.png",
        "no images beside those of the table: .heic (1)",
    )


ASKED = {
    "ages": (lambda i: 18 + 2 * i, "24 different numbers from 18 to 64"),
    "sizes": (lambda i: f"{i}.5", "24 different numbers from 0.5 to 23.5"),
    "a comma in numbers": (lambda i: f'"{i},5"', "24 different numbers"),
    "bars alone": (lambda i: ("a|b", "c|d")[i % 2], "'a|b' names several findings, as 24 of 24"),
    "semicolons": (lambda i: ("a;b", "c", "a")[i % 3], "'a;b' names several findings, as 8 of 24"),
    "commas": (lambda i: ('"a,b"', "a", "b")[i % 3], "'a,b' names several findings"),
    "slashes and spaces": (lambda i: ("a / b", "a", "b")[i % 3], "'a / b' names several"),
    "a list": (lambda i: ("\"['a', 'b']\"", "c")[i % 2], "names several findings"),
}


@pytest.mark.parametrize("what", ASKED)
def test_labels_that_are_asked_about(photos, what):
    label, words = ASKED[what]
    table(photos, "path,label", lambda i: f"{path(i)},{label(i)}")
    assert words in error(photos)


TAKEN = {
    "numbers of classes": (lambda i: i // 2, 12),
    "many numbers of classes": (lambda i: i, 0),
    "grades with a half": (lambda i: ("0", "0.5", "1", "2")[i % 4], 4),
    "numbers with gaps": (lambda i: 100 * (i % 6), 6),
    "a comma in a name": (lambda i: ('"Carcinoma, ductal"', '"Carcinoma, lobular"')[i % 2], 2),
    "signs in names": (lambda i: ("HER2+", "ER+/PR+", "a&b")[i % 3], 3),
}


@pytest.mark.parametrize("what", TAKEN)
def test_labels_that_are_classes(photos, what):
    label, classes = TAKEN[what]
    table(photos, "path,label", lambda i: f"{path(i)},{label(i)}")
    if not classes:  # one image of each cannot be split
        assert "has 1 image" in error(photos)
    else:
        assert len(read(photos).class_names) == classes
