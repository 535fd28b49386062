"""Who is a patient: what could put one on both sides of a split is said or refused."""

import numpy as np
import pytest
from PIL import Image

from assl_jax.data import load


@pytest.fixture
def study(tmp_path):
    """`study(patient)`: 40 images of two classes; `patient(i)` is the cell of the table."""
    for i in range(40):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / f"i{i}.png")

    def write(patient, **settings):
        lines = [f"i{i}.png,{i % 2},{patient(i)}" for i in range(40)]
        (tmp_path / "l.csv").write_text("path,label,patient\n" + "\n".join(lines))
        return load("folder", path=str(tmp_path), csv="l.csv", **settings)

    return write


def test_unknown_patients_with_names_of_their_own(study):
    data = study(lambda i: f"unknown{i}" if i < 24 else i // 2)
    assert len(set(data.patients.tolist())) == 32 and data.notes == ()


SPELLINGS = {
    "numbers": lambda i: ("{}", "{}.0", "00{}")[i % 3].format(1 + i // 4),
    "case": lambda i: ("p{}", "P{}")[i % 2].format("abcdefghij"[i // 4]),
}


@pytest.mark.parametrize("what", SPELLINGS)
def test_spellings_of_one_patient_are_one(study, what):
    for seed in range(5):
        data = study(SPELLINGS[what], seed=seed)
        who = data.images[:, 0, 0, 0] // 4
        assert len(set(data.patients.tolist())) == 10
        assert not set(who[data.test]) & set(who[data.unlabeled])
        (note,) = data.notes
        assert note.startswith("patients are taken for one if only the spelling differs: ")


def test_a_patient_with_most_images_is_said(study):
    data = study(lambda i: "999" if i < 24 else i)
    assert "patient '999' has 24 of 40 images" in str(data.notes)
    assert study(lambda i: i // 10).notes == ()


def test_patients_with_images_of_both_classes(study):
    for seed in range(5):
        data = study(lambda i: i // 2, seed=seed)  # twenty patients, each of both classes
        (train,) = data.labelled_sets
        for rows in (train, data.test):
            assert set(data.labels[rows]) == {0, 1}
        assert not set(data.patients[train]) & set(data.patients[data.test])
