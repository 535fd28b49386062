"""Names of splits, classes and system files."""

import unicodedata

import pytest

from assl_jax.data.names import (
    is_missing,
    is_system,
    is_unknown,
    one_name_each,
    one_patient_each,
    plain,
    shown,
    speak_of_sides,
    split_of,
)
from assl_jax.errors import InputError

SPLIT_NAMES = {
    "train": ("train", "Training", "TRAIN", "training_set", "train images", "trainingset"),
    "val": ("val", "valid", "Validation", "val-set", "dev"),
    "test": ("test", "Testing", "test_set", "Test Data"),
    "unlabeled": ("unlabeled", "Unlabelled", "unlabeled_images", "unsup", "Unsupervised"),
    None: ("cat", "tested", "trains", "invalid", "offset", "", "data", "images", "\u732b"),
}


@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_splits(split):
    assert [split_of(name) for name in SPLIT_NAMES[split]] == [split] * len(SPLIT_NAMES[split])


def test_system_names():
    for name in (".hidden", "__MACOSX", "@eaDir", ".ipynb_checkpoints", "Thumbs.db", "~$a.csv"):
        assert is_system(name)
    for name in ("cat", "thumb", "a.png", "MACOSX"):
        assert not is_system(name)


def test_missing_labels():
    assert all(map(is_missing, ("", "NA", "n/a", "NaN", "-1", "-1.0", " ")))
    assert not any(map(is_missing, ("0", "-2", "none", "1", "no", "nano")))


def test_spellings_of_one_class():
    composed, split = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    assert composed != split
    found = one_name_each([split, composed, "1", "1.0", "01", " cat", "\u732b"], "here")
    assert found == {
        **{split: composed, composed: composed, " cat": "cat", "\u732b": "\u732b"},
        **{"1": "1", "1.0": "1", "01": "1"},
    }
    assert one_name_each(["0.0", "1.0"], "here") == {"0.0": "0.0", "1.0": "1.0"}
    long = ["12345678901234567", "12345678901234568"]
    assert one_name_each(long, "here") == dict(zip(long, long, strict=True))
    with pytest.raises(InputError, match="^here: the classes 'Yes' and 'yes' differ in upper"):
        one_name_each(["yes", "Yes", "no"], "here")
    with pytest.raises(InputError, match="is not UTF-8; rename it"):
        one_name_each(["Stra\udcdfe"], "here")


def test_patients_who_are_not_known():
    names = ("", "NA", "NaN", "None", "unknown", "-1", "-1.0", "?", " null ", "Anonymous")
    assert all(map(is_unknown, names))
    assert not any(map(is_unknown, ("0", "1", "unknown1", "Nanna", "case-1", "P-1")))


def test_spellings_of_one_patient():
    same = (("7", "007", "7.0", "7."), ("P1", "p1", "P1 "), ("Zo\u00eb", "Zoe\u0308"))
    found = one_patient_each(name for names in same for name in names)
    assert [len({found[name] for name in names}) for names in same] == [1, 1, 1]
    assert len(set(found.values())) == 3 and found["007"] == "7"
    others = ["1.1", "1.10", "P 1", "P1", "7", "70", "P01"]  # of site 1: patients 1 and 10
    assert one_patient_each(others) == {name: name for name in others}


def test_names_for_messages():
    assert plain(" e\u0301 ") == "\u00e9"
    assert shown("a\udce9.png").isprintable() and shown("\u732b.png") == "\u732b.png"


def test_names_that_speak_of_sides():
    names = ["Left lung", "right-eye", "cat", "bright", "links"]
    assert speak_of_sides(names) == ["Left lung", "right-eye", "links"]
    assert speak_of_sides(["R", "L", "x"]) == ["R", "L"]
    assert speak_of_sides(["R", "G", "B", "OD"]) == []
