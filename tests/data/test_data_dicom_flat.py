"""Several DICOM series in one folder: each is a volume, and headers are read a few times only."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writers import SCOUT, write_enhanced, write_series, write_slice

from assl_jax.data import load
from assl_jax.data.dicom import describe_dicom
from assl_jax.data.file_reader import FileReader
from assl_jax.data.volume_folder import find_volumes
from assl_jax.data.volume_reader import identify, stamp
from assl_jax.errors import InputError

HU = np.random.default_rng(0).integers(-900, 1000, (4, 5, 6)).astype(np.int16)  # [z, y, x]
WINDOW = (-1024.0, 3071.0)


@pytest.fixture
def flat(tmp_path):
    """`flat(n)`: a folder of n enhanced files e0.dcm, e1.dcm, ...; the values of file i are +i."""

    def write(n):
        for i in range(n):
            elements = {"SeriesInstanceUID": f"1.2.{i}", "PatientID": f"p{i}"}
            write_enhanced(tmp_path / "flat" / f"e{i}.dcm", HU + i, **elements)
        return tmp_path / "flat"

    return write


def slices(folder, name, value):
    """A series of 4 files of one slice each."""
    write_series(folder, HU + value, name + "{}", SeriesInstanceUID=f"1.3.{value}")


def test_every_enhanced_file_of_a_flat_folder_is_a_volume(flat):
    folder = flat(3)
    assert find_volumes(folder).volumes == [folder / f"e{i}.dcm" for i in range(3)]
    reader = FileReader(shape=(*HU.shape, 1), low=WINDOW[0], high=WINDOW[1])
    predicted = [reader.read(file)[..., 0] for file in reader.find(folder)]  # as `predict` does
    np.testing.assert_array_equal(predicted, [HU - 24, HU - 23, HU - 22])
    data = load("volumes", path=str(folder), window=WINDOW)
    np.testing.assert_array_equal(data.images[..., 0], [HU - 24, HU - 23, HU - 22])
    assert len(set(data.patients.tolist())) == 3


@pytest.mark.parametrize("listed", [False, True])
def test_reads_grow_with_the_files_and_not_with_their_square(flat, monkeypatch, listed):
    read, real = [], pydicom.dcmread

    def noted(file, **options):
        read.append(Path(file.name).name)
        return real(file, **options)

    monkeypatch.setattr(pydicom, "dcmread", noted)
    counts = []
    for n in (3, 9):
        folder = flat(n)
        if listed:
            rows = [f"e{i}.dcm," for i in range(n)]
            (folder / "volumes.csv").write_text("\n".join(["path,label", *rows]))
        read.clear()
        load("volumes", path=str(folder), window=WINDOW)
        counts.append(len(read))
    assert counts[1] == 3 * counts[0] and read.count("e0.dcm") == 5


def test_series_of_slices_in_one_folder(tmp_path):
    """A folder as a viewer exports it: two series, a localiser and a report's file."""
    slices(tmp_path, "b", 1)
    slices(tmp_path, "a", 2)
    write_slice(tmp_path / "scout", HU[0], SeriesInstanceUID="1.9", **SCOUT)
    (tmp_path / "notes.txt").write_text("text")
    assert find_volumes(tmp_path).volumes == [tmp_path / "a0", tmp_path / "b0"]
    np.testing.assert_array_equal(describe_dicom(tmp_path / "a0").standard()[0], HU + 2)
    np.testing.assert_array_equal(describe_dicom(tmp_path / "b3").standard()[0], HU + 1)
    assert identify(tmp_path / "a0") == identify(tmp_path / "a3") != identify(tmp_path / "b0")
    before = [stamp(tmp_path / name) for name in ("a0", "b0")]
    (tmp_path / "b2").touch()
    after = [stamp(tmp_path / name) for name in ("a0", "b0")]
    assert after[0] == before[0] and after[1] != before[1]


def test_a_new_file_is_noticed(flat):
    folder = flat(2)
    assert len(find_volumes(folder).volumes) == 2
    slices(folder, "s", 5)
    assert find_volumes(folder).volumes[2:] == [folder / "s0"]
    (folder / "s0").unlink()
    assert find_volumes(folder).volumes[2:] == [folder / "s1"]


def test_a_broken_file_costs_only_what_it_may_be_a_part_of(flat):
    folder = flat(2)
    slices(folder, "s", 5)
    (folder / "broken.dcm").write_bytes(b"")
    assert [file.name for file in find_volumes(folder).volumes] == [
        "broken.dcm",
        "e0.dcm",
        "e1.dcm",
        "s0",
    ]
    np.testing.assert_array_equal(describe_dicom(folder / "e1.dcm").standard()[0], HU - 23)
    for name in ("broken.dcm", "s0"):  # a slice of `s` may be the one that broke
        with pytest.raises(ValueError, match="broken.dcm is empty; copy it again"):
            describe_dicom(folder / name).grid()
    data = load("volumes", path=str(folder), window=WINDOW, on_error="skip")
    assert [line.partition(":")[0] for line in data.skipped] == ["broken.dcm", "s0"]
    np.testing.assert_array_equal(data.images[..., 0], [HU - 24, HU - 23])
    with pytest.raises(InputError, match=r"broken\.dcm cannot be used"):
        load("volumes", path=str(folder), window=WINDOW)
