"""NIfTI files: orientation, types and broken files."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest
from data_sets import HU, spl
from data_sets import nifti as save

from assl_jax.data import nifti
from assl_jax.data.nifti import describe_nifti, is_nifti
from assl_jax.data.orientation import Grid
from assl_jax.data.volume_file import VolumeFormat, read_volume

WIDE = VolumeFormat(window=(-1024.0, 3071.0))


def read(path, **settings):
    return read_volume(path, VolumeFormat(**settings))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_saved_array_comes_back_exactly(tmp_path, name, kind):
    volume = read_volume(save(tmp_path / name, kind=kind), WIDE)
    assert volume.dtype == np.int16 and volume.flags.c_contiguous
    np.testing.assert_array_equal(volume, HU[..., None])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_content_tells_where_the_name_does_not(tmp_path, kind):
    content = save(tmp_path / "a.nii", kind=kind).read_bytes()
    (tmp_path / "scan").write_bytes(content)
    (tmp_path / "scan.gz").write_bytes(gzip.compress(content))
    for name in ("scan", "scan.gz"):
        assert is_nifti(tmp_path / name)
        np.testing.assert_array_equal(read_volume(tmp_path / name, WIDE)[..., 0], HU)
    (tmp_path / "short.gz").write_bytes(gzip.compress(content)[:60])
    (tmp_path / "text").write_bytes(b"text")
    for name in ("short.gz", "text", ".", "absent"):
        assert not is_nifti(tmp_path / name)
    assert is_nifti(tmp_path / "absent.NII.GZ")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_orientation_of_a_file_gives_the_same_array(tmp_path, order):
    affine = spl((3.0, 1.0, 2.0))
    expected = read(save(tmp_path / "a.nii", affine=affine), spacing=(2.0, 2.0, 2.0))
    for flips in itertools.product((1, -1), repeat=3):
        array, other = HU.transpose(order), np.eye(4)
        other[:3, 3] = affine[:3, 3]
        for axis, (old, sign) in enumerate(zip(order, flips, strict=True)):
            column = affine[:3, old]
            other[:3, axis] = sign * column
            if sign < 0:
                array = np.flip(array, axis)
                other[:3, 3] += (array.shape[axis] - 1) * column
        file = save(tmp_path / "b.nii", array, other)
        np.testing.assert_array_equal(read_volume(file, WIDE)[..., 0], HU)
        np.testing.assert_array_equal(read(file, spacing=(2.0, 2.0, 2.0)), expected)


def test_a_slice_shows_what_a_radiologist_sees(tmp_path):
    # NIfTI's own world, the identity: the axes run to the patient's right, to the front and up.
    world = np.zeros((4, 5, 6), np.int16)
    world[0, 4, 5] = 100  # left-most, foremost, top
    volume = read(save(tmp_path / "a.nii", world, np.eye(4)), window=(0.0, 100.0))[..., 0]
    assert volume.shape == (6, 5, 4)
    # Axis 0 ends at the top; the front is the first row; the patient's left is the last column.
    assert np.argwhere(volume).tolist() == [[5, 0, 3]]


def test_an_oblique_affine_keeps_the_nearest_axes_and_the_voxel_sizes(tmp_path):
    turn, angle = np.eye(4), 0.3
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight, turned = spl((2.0, 1.0, 1.0)), turn @ spl((2.0, 1.0, 1.0))
    first, second = (
        read(save(tmp_path / "a.nii", affine=a), spacing=(1.0, 1.0, 1.0))
        for a in (straight, turned)
    )
    assert first.shape == (8, 5, 6, 1)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "<i2", ">i2", "i4", "f4", ">f8"])
def test_types_and_byte_orders(tmp_path, dtype):
    small = (HU % 100).astype(dtype)
    file = save(tmp_path / "a.nii", small, kind=nib.Nifti1Image)
    np.testing.assert_array_equal(read_volume(file, WIDE)[..., 0], HU % 100)


def test_units_other_than_millimetres(tmp_path):
    file = save(tmp_path / "a.nii", affine=spl((2000.0, 1000.0, 1000.0)), unit="micron")
    assert read(file, spacing=(1.0, 1.0, 1.0)).shape == (8, 5, 6, 1)


def test_trailing_axes_of_one(tmp_path):
    file = save(tmp_path / "a.nii", HU[..., None, None])
    np.testing.assert_array_equal(read_volume(file, WIDE)[..., 0], HU)


def test_other_files(tmp_path):
    plain = save(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(plain)
    (tmp_path / "c.nii").write_bytes(gzip.compress(plain))
    damaged = bytearray(gzip.compress(plain))
    damaged[-6] ^= 1  # the checksum at the end: the voxels themselves can be unpacked
    (tmp_path / "e.nii.gz").write_bytes(damaged)
    with pytest.raises(ValueError, match="CRC"):
        read(tmp_path / "e.nii.gz")
    for name in ("b.nii.gz", "c.nii"):  # packed or not, whatever the name says
        np.testing.assert_array_equal(read_volume(tmp_path / name, WIDE)[..., 0], HU)
    (tmp_path / "g.nii.gz").write_bytes(gzip.compress(plain) + b"more")
    with pytest.raises(ValueError, match="something follows its content"):
        read(tmp_path / "g.nii.gz")


def test_a_header_says_what_the_volume_will_be(tmp_path):
    affine = np.array([[0, 2.0, 0, 0], [0, 0, -3.0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])
    for name, turn, code in (("a.nii", spl((3.0, 0.5, 2.0)), "SPL"), ("b.nii.gz", affine, "SRP")):
        file = save(tmp_path / name, affine=turn)
        values, spacing = describe_nifti(file).standard()
        assert describe_nifti(file).grid() == Grid(values.shape, spacing, code)
        assert code != "SPL" or spacing == (3.0, 0.5, 2.0)
    with pytest.raises(ValueError, match="more than one volume"):
        describe_nifti(save(tmp_path / "c.nii", np.stack([HU, HU], -1))).grid()


def test_odd_headers_are_read_in_silence(tmp_path, caplog):
    """nibabel logs each thing that it mends, and warns of odd extensions."""
    content = bytearray(save(tmp_path / "a.nii").read_bytes())
    content[252:254] = (255).to_bytes(2, "little")  # the code of the first transformation
    content[:4] = bytes(4)  # the size of the header
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.nii", window=WIDE.window)[..., 0], HU)
    assert not caplog.records


@pytest.mark.parametrize("huge", [1e200, np.nan, np.inf])
def test_affines_without_a_limit(tmp_path, huge):
    file = save(tmp_path / "a.nii", kind=nib.Nifti2Image)
    content = bytearray(file.read_bytes())
    content[400:496] = np.full(12, huge).tobytes()  # the rows of the affine
    file.write_bytes(content)
    with pytest.raises(ValueError, match="singular"):
        describe_nifti(file).standard()


@pytest.mark.parametrize("more, fits", [(10, True), (1001, False)])
def test_little_may_follow_the_voxels(tmp_path, monkeypatch, more, fits):
    monkeypatch.setattr(nifti, "TRAILING_BYTES", 1000)
    content = save(tmp_path / "a.nii").read_bytes() + bytes(more)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    if fits:
        np.testing.assert_array_equal(describe_nifti(tmp_path / "a.nii.gz").standard()[0], HU)
    else:
        with pytest.raises(ValueError, match="more than its voxels"):
            describe_nifti(tmp_path / "a.nii.gz").standard()
