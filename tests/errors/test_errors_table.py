"""The table of `tests/files/errors.md` as a whole, and the rows of data sources."""

import re
from pathlib import Path

import cases_arrays
import cases_dicom
import cases_folders
import cases_images
import cases_nifti
import cases_stl10
import cases_tables
import cases_volume_formats
import pytest

MODULES = (
    *(cases_arrays, cases_dicom, cases_folders, cases_images, cases_nifti, cases_stl10),
    *(cases_tables, cases_volume_formats),
)
CASES = {module.TOPIC: module.CASES for module in MODULES}


@pytest.mark.parametrize(("topic", "words"), [(t, words) for t in CASES for words in CASES[t]])
def test_the_message(topic, words, check):
    check(topic, words, CASES[topic][words])


@pytest.mark.parametrize("topic", CASES)
def test_every_row_has_a_case(topic, rows):
    assert list(rows[topic]) == list(CASES[topic])


def test_no_message_names_the_patient(rows):
    said = rows[cases_dicom.TOPIC].values()
    assert not any("Secret" in each or "PatientID" in each for each in said)


def test_every_topic_has_a_file(rows):
    files = Path(__file__).parent.glob("test_errors_*.py")
    topics = {t for f in files for t in re.findall(r'^TOPIC = "(.*)"$', f.read_text(), re.M)}
    assert topics | set(CASES) == set(rows) and len(rows) > 9


def test_there_are_many_rows_and_none_says_nothing(rows):
    assert sum(map(len, rows.values())) > 600
    for topic, messages in rows.items():
        for words, message in messages.items():
            assert len(message.replace("…", "")) > 19, (topic, words)
