"""DICOM files of any name, with and without a preamble; files that are no slices are named."""

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_writers import REPORT, SCOUT, write_series, write_slice
from pydicom.data import get_testdata_file

from assl_jax.data import load
from assl_jax.data.dicom import describe_dicom
from assl_jax.data.dicom_files import HEAD, is_dicom, is_head
from assl_jax.data.file_reader import FileReader
from assl_jax.data.volume_folder import find_volumes
from assl_jax.errors import InputError

HU = np.random.default_rng(0).integers(-900, 1000, (4, 5, 6)).astype(np.int16)  # [z, y, x]
READER = FileReader(shape=(*HU.shape, 1), low=-1024.0, high=3071.0)
SYNTAXES = ("ExplicitVRLittleEndian", "ImplicitVRLittleEndian", "ExplicitVRBigEndian")


def series(folder, names="IM000{}", uid="1.2.3"):
    """The slices of `HU`, and what the files are called."""
    return write_series(folder, HU, names, SeriesInstanceUID=uid)


def strip(file, syntax, *, meta):
    """The file without its preamble, and perhaps without its group 2."""
    found = pydicom.dcmread(file)
    kind = getattr(pydicom.uid, syntax)
    if kind == pydicom.uid.ExplicitVRBigEndian:
        found.PixelData = found.pixel_array.astype(">i2").tobytes()
    found.preamble = None
    if meta:
        found.file_meta.TransferSyntaxUID = kind
        pydicom.dcmwrite(file, found, enforce_file_format=False)
        return
    del found.file_meta
    options = {"little_endian": "Little" in syntax, "implicit_vr": "Implicit" in syntax}
    pydicom.dcmwrite(file, found, enforce_file_format=False, **options)


@pytest.mark.parametrize("names", ["IM000{}", "1.2.840.113.{}", "{}.ima", "slice{}.DCM"])
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_a_preamble(tmp_path, names, syntax, meta):
    folder = series(tmp_path / "scan", names)
    for file in folder.iterdir():
        strip(file, syntax, meta=meta)
        assert file.read_bytes()[128:132] != b"DICM"
    one = folder / names.format(2)
    assert is_dicom(folder) and is_dicom(one)
    for path in (folder, one):
        np.testing.assert_array_equal(describe_dicom(path).standard()[0], HU)
    assert find_volumes(tmp_path).volumes == [folder] == READER.find(tmp_path)
    np.testing.assert_array_equal(READER.read(one)[..., 0], HU)
    (tmp_path / "volumes.csv").write_text("path,label,split\nscan,,unlabeled")
    data = load("volumes", path=str(tmp_path), window=(-1024, 3071))
    np.testing.assert_array_equal(data.images[0, ..., 0], HU)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CT_small.dcm", True),
        ("ExplVR_LitEndNoMeta.dcm", True),
        ("ExplVR_BigEndNoMeta.dcm", True),
        ("rtstruct.dcm", True),  # implicit, without a preamble
        ("README.txt", False),
        ("zipMR.gz", False),
        ("test1.json", False),
    ],
)
def test_files_of_others(name, expected):
    with open(get_testdata_file(name), "rb") as file:
        assert is_head(file.read(HEAD)) is expected


def test_numbers_are_hardly_ever_taken_for_elements():
    rng = np.random.default_rng(0)
    heads = [rng.integers(0, 20, HEAD // 2).astype("<u2").tobytes() for _ in range(2000)]
    heads += [b"", b"\x08\0", bytes(HEAD), b"\x08\0\x05\0CS\n\0ISO_IR 100"]
    assert not any(map(is_head, heads))


def left_out(folder):
    """A localiser, a report and a segmentation in a folder of a series."""
    write_slice(folder / "AA", HU[0], **SCOUT)
    write_slice(folder / "SR", HU[0], **REPORT)
    mask = {"kind": pydicom.uid.SegmentationStorage, "SeriesInstanceUID": "1.9"}
    write_slice(folder / "MASK.dcm", HU[0], **mask)
    return [
        "scan/AA: a localiser",
        "scan/MASK.dcm: no image (Segmentation Storage)",
        "scan/SR: no image (Basic Text SR Storage)",
    ]


def test_files_that_are_no_slices_are_named(tmp_path, capsys):
    folder = series(tmp_path / "scan")
    expected = left_out(folder)
    cache = str(tmp_path.parent / f"{tmp_path.name}-cache")
    for settings in ({}, {"cache": cache}, {"cache": cache}):
        data = load("volumes", path=str(tmp_path), window=(-1024, 3071), **settings)
        assert list(data.skipped) == expected and len(data.images) == 1
    capsys.readouterr()
    for path in (tmp_path, folder, folder / "IM0002"):
        assert len(READER.find(path)) == 1
        said = capsys.readouterr().err
        assert [f"left out: {tmp_path}/{line}" in said for line in expected] == [True] * 3


def test_a_series_that_the_table_does_not_list_is_named(tmp_path, capsys):
    folder = series(series(series(tmp_path / "scan", "a{}", "1.1"), "b{}", "1.2"), "c{}", "1.3")
    (tmp_path / "volumes.csv").write_text(
        "path,label,split\nscan/a1,,unlabeled\nscan/c0,,unlabeled"
    )
    expected = ["scan/b0: the first of 4 files of another series"]
    assert list(load("volumes", path=str(tmp_path), window=(0, 99)).skipped) == expected
    left = left_out(folder)
    assert sorted(load("volumes", path=str(tmp_path), window=(0, 99)).skipped) == sorted(
        left + expected
    )
    assert READER.find(folder / "b2") == [folder / "b2"]
    said = capsys.readouterr().err
    assert "a0: the first of 4 files of another series" in said and "b0: the first" not in said
    slice_file = folder / "c2"
    content = slice_file.read_bytes()
    slice_file.write_bytes(content[:-30])  # a listed series that is skipped is no other one
    data = load("volumes", path=str(tmp_path), window=(0, 99), on_error="skip")
    (line,) = (line for line in data.skipped if "scan/c" in line)
    assert line.startswith("scan/c0: CT series 7: the pixels of c2")
    slice_file.write_bytes(content)
    (tmp_path / "volumes.csv").unlink()  # then all three are volumes
    assert list(load("volumes", path=str(tmp_path), window=(0, 99)).skipped) == left


def test_slices_of_another_size_are_named(tmp_path):
    folder = series(tmp_path / "scan")
    for k in range(5, 7):
        write_slice(folder / f"odd{k}", HU[0, :3], ImagePositionPatient=[0, 0, k])
    with pytest.raises(ValueError, match=r"sizes 3x6 and 5x6 \(3x6: odd5, odd6\); put each kind"):
        describe_dicom(folder).standard()


def test_a_list_of_slices_is_one_volume(tmp_path, capsys):
    folder, other = series(tmp_path / "a"), series(tmp_path / "b", uid="1.9")
    slices = sorted(folder.iterdir())
    assert READER.find(*slices) == slices[:1]
    assert "4 of the files are parts of 1 volume; a volume stands under" in capsys.readouterr().err
    found = READER.find(*slices[2:], other, *sorted(other.iterdir()), folder)
    assert found == [slices[2], other]
    np.testing.assert_array_equal(READER.read(found[0])[..., 0], HU)
    with pytest.raises(InputError, match="absent does not exist"):
        READER.find(*slices, tmp_path / "absent")


def test_a_pair_in_a_list_is_one_volume(tmp_path):
    nib.Nifti1Pair(HU.T.copy(), np.diag([-1, -1, 1, 1])).to_filename(tmp_path / "a.img")
    assert READER.find(tmp_path / "a.img", tmp_path / "a.hdr") == [tmp_path / "a.img"]
