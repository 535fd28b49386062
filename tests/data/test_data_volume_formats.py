"""Every format of a volume: one orientation, one line for what is damaged, and nothing crashes."""

import itertools
import sys
import zlib

import nibabel as nib
import numpy as np
import pytest
from volume_writers import MET, SIZES, WRITERS, metaimage, nrrd

from assl_jax.data import load
from assl_jax.data.volume_reader import identify, reader_of, stamp
from assl_jax.errors import InputError

RAS = dict(
    zip("RLASPI", np.eye(3)[[0, 0, 1, 2, 1, 2]] * [[1], [-1], [1], [1], [-1], [-1]], strict=True)
)
CODES = ["LPS", "RAS", "LAS", "SPL", "PIR", "ARI"]
TILT = np.linalg.qr(np.array([[1, 0.2, 0.1], [-0.2, 1, 0.3], [-0.1, -0.3, 1]]))[0]
TILT = TILT * np.sign(np.diag(TILT))


def marked(code, turn):
    """An array with 7 in the corner that is right, anterior and inferior, and its affine."""
    axes = np.stack([RAS[letter] for letter in code], 1)
    array = np.arange(100, 160, dtype=np.int16).reshape(3, 4, 5)
    array[tuple(0 if letter in "SPL" else -1 for letter in code)] = 7
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * SIZES
    return array, affine


@pytest.mark.parametrize("turn", [np.eye(3), TILT], ids=["straight", "oblique"])
@pytest.mark.parametrize("code", CODES)
def test_the_marker_is_in_the_same_corner_of_every_format(tmp_path, code, turn):
    array, affine = marked(code, turn)
    order = [
        next(i for i, letter in enumerate(code) if letter in pair) for pair in ("SI", "AP", "LR")
    ]
    flips = tuple(slice(None, None, 1 if code[i] in "SPL" else -1) for i in order)
    expected = array.transpose(order)[flips]  # [z, y, x]: up, backwards, to the left
    assert expected[0, 0, 0] == 7
    for name, write in WRITERS.items():
        file = tmp_path / name
        write(file, array, affine)
        values, spacing = reader_of(file).describe(file).standard()
        np.testing.assert_array_equal(values, expected, err_msg=name)
        np.testing.assert_allclose(spacing, [SIZES[i] for i in order], rtol=1e-5, err_msg=name)
        grid = reader_of(file).describe(file).grid()
        assert grid.shape == values.shape and grid.code == code, name


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_values_keep_their_type(tmp_path, kind):
    array = (np.arange(24).reshape(2, 3, 4) * 9.5).astype(kind)
    names = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT"}
    names |= {"f4": "MET_FLOAT", "f8": "MET_DOUBLE"}
    header = f"{MET}DimSize = 2 3 4\nElementType = {names[kind]}\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + array.tobytes(order="F"))
    names = {"u1": "uchar", "i2": "int16", "u2": "unsigned short", "i4": "int"}
    names |= {"f4": "float", "f8": "double"}
    header = (
        f"NRRD0004\ntype: {names[kind]}\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + b"\n\n" + array.tobytes(order="F"))
    for name in ("a.mha", "a.nrrd"):  # axes to the left, to the back and up
        values, spacing = reader_of(tmp_path / name).describe(tmp_path / name).standard()
        np.testing.assert_array_equal(values, array.T)
        assert values.dtype == array.dtype and spacing == (1, 1, 1)


def test_an_axis_of_one_channel_and_units(tmp_path):
    array = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    header = (
        "NRRD0005\ntype: short\ndimension: 4\nspace: RAS\nsizes: 1 2 3 4\nendian: little\n"
        "space directions: none (0,0,5) (-1,0,0) (0,-1,0)\nencoding: raw\n"
        'space units: "cm" "cm" "cm"\nbyte skip: -1\n\nsomething before the voxels'
    ).replace("RAS", "right-anterior-superior")
    (tmp_path / "a.nrrd").write_bytes(header.encode() + array.tobytes(order="F"))
    values, spacing = reader_of(tmp_path / "a.nrrd").describe(tmp_path / "a.nrrd").standard()
    np.testing.assert_array_equal(values, array.transpose(0, 2, 1))  # up; left; back
    assert spacing == (50, 10, 10)


def test_the_first_axis_of_analyze_goes_to_the_left(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.AnalyzeImage(array, None).to_filename(tmp_path / "a.img")
    values, _ = reader_of(tmp_path / "a.img").describe(tmp_path / "a.img").standard()
    np.testing.assert_array_equal(values, array.transpose(2, 1, 0)[:, ::-1])


def table(root, *lines):
    (root / "volumes.csv").write_text("\n".join(["path,label,split", *lines]))


def error(root) -> str:
    with pytest.raises(InputError) as caught:
        load("volumes", path=str(root), window=(0, 200))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def flipped(content):
    middle = len(content) - 20
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "a text": lambda content: b"no volume",
    "half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-30],
    "longer": lambda content: content + bytes(999),
    "one byte changed": flipped,
}
PACKED = ("a.nii.gz", "c.img.gz", "a.MGZ", "b.nrrd", "c.nrrd", "b.nhdr", "b.mha", "b.mhd")
LONGER = ("a.nrrd", "a.nhdr", "a.mha", "a.mhd")  # formats that end with their voxels
FINE = {
    "longer": set(WRITERS) - {*LONGER},  # zeros after gzip's end are padding
    "one byte changed": set(WRITERS) - {*PACKED},  # nothing tells
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line(tmp_path, damage):
    for name in sorted(set(WRITERS) - FINE.get(damage, set())):
        root = tmp_path / name
        root.mkdir()
        WRITERS[name](root / name, *marked("LPS", np.eye(3)))
        voxels = reader_of(root / name).files(root / name)[-1]
        voxels.write_bytes(DAMAGES[damage](voxels.read_bytes()))
        assert f"{root}/" in (said := error(root)) and " cannot be used: " in said


TEXTS = {
    "a.mha": {
        "BinaryData = True": ("BinaryData = False", "its voxels are text"),
        "5\nElementType": ("-5\nElementType", "not a volume"),
        "ElementSpacing = 0.5": ("ElementSpacing = 1 0.5", "has 4 numbers, not 3"),
    },
    "a.nrrd": {
        "type: short": ("type: block", "header is damaged"),
        "dimension: 3": ("dimension: 3\ndata file: LIST", "in several files"),
        "kinds": ('space units: "km" "km" "km"\nkinds', "are not mm"),
        "space directions: (": ("space directions: none (", "not 3 numbers for each"),
    },
}
CHANGES = [(name, old, *new) for name, texts in TEXTS.items() for old, new in texts.items()]


@pytest.mark.parametrize(("name", "old", "new", "words"), CHANGES)
def test_headers_that_are_refused(tmp_path, name, old, new, words):
    WRITERS[name](tmp_path / name, *marked("LPS", np.eye(3)))
    content = (tmp_path / name).read_bytes()
    assert content.count(old.encode()) == 1
    (tmp_path / name).write_bytes(content.replace(old.encode(), new.encode()))
    assert words in error(tmp_path)


def test_a_packed_file_unpacks_to_no_more_than_its_header_says(tmp_path):
    array, affine = marked("LPS", np.eye(3))
    metaimage(tmp_path / "a.mha", array, affine)
    content = (
        (tmp_path / "a.mha")
        .read_bytes()
        .replace(b"CompressedData = False", b"CompressedData = True")
    )
    header = content[: content.index(b"LOCAL\n") + 6]
    (tmp_path / "a.mha").write_bytes(header + zlib.compress(bytes(2**24), 9))
    assert "holds more bytes than its header says (120)" in error(tmp_path)


def test_a_pair_is_one_volume(tmp_path):
    array, affine = marked("LPS", np.eye(3))
    for name in ("a.img", "b.img"):
        nib.Nifti1Pair(array, affine).to_filename(tmp_path / name)
    data = load("volumes", path=str(tmp_path), window=(0, 200))
    assert len(data.images) == 2 and data.skipped == ()
    assert identify(tmp_path / "a.hdr") == identify(tmp_path / "a.img")
    before = stamp(tmp_path / "a.hdr")
    (tmp_path / "a.img").touch()
    assert stamp(tmp_path / "a.hdr") != before
    table(tmp_path, "a.img,x,train", "a.hdr,y,train", "b.img,y,test")
    assert "it is listed 2 times, in rows 2, 3" in error(tmp_path)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_voxels_in_a_file_of_their_own(tmp_path, name):
    WRITERS[name](tmp_path / name, *marked("LPS", np.eye(3)))
    header, voxels = reader_of(tmp_path / name).files(tmp_path / name)
    before = stamp(header)
    voxels.touch()
    assert stamp(header) != before
    assert load("volumes", path=str(tmp_path), window=(0, 200)).notes == (
        "there is no volumes.csv: all 1 volumes are unlabeled",
    )


def test_without_pynrrd(tmp_path, monkeypatch):
    nrrd(tmp_path / "a.nrrd", *marked("LPS", np.eye(3)))
    monkeypatch.setitem(sys.modules, "nrrd", None)
    assert error(tmp_path) == "NRRD files need pynrrd; run: pip install pynrrd"
    (tmp_path / "a.nrrd").rename(tmp_path / "Segmentation.seg.nrrd")  # a mask is not read
    metaimage(tmp_path / "a.mha", *marked("LPS", np.eye(3)))
    _, note = load("volumes", path=str(tmp_path), window=(0, 200)).notes
    assert note.startswith("1 masks are left out, such as Segmentation.seg.nrrd; to include")


def test_formats_in_one_table(tmp_path):
    """The same array from every format, with a cache and without."""
    array, affine = marked("RAS", TILT)
    names = list(WRITERS)
    for name, write in WRITERS.items():
        write(tmp_path / name, array, affine)
    table(
        tmp_path,
        *(f"{name},{'ab'[i % 2]},{'train' if i < 8 else 'test'}" for i, name in enumerate(names)),
    )
    cache = str(tmp_path / "cache")
    for settings in ({}, {"cache": cache}, {"cache": cache}):
        data = load("volumes", path=str(tmp_path), window=(0, 200), **settings)
        for one, other in itertools.pairwise(np.asarray(data.images)):
            np.testing.assert_array_equal(one, other)
        assert len(data.images) == len(names)
