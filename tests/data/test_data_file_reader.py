"""Single files in the stored units of a data set."""

import numpy as np
import pytest
from PIL import Image

from assl_jax.data import load
from assl_jax.data.file_reader import FileReader, reader_of
from assl_jax.errors import InputError


@pytest.fixture
def picture(tmp_path):
    """Columns of 0 and 255 in a picture 6 wide and 4 high."""
    pixels = np.zeros((4, 6), np.uint8)
    pixels[:, 3:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_square_is_cut_out_and_resized(picture):
    reader = FileReader(shape=(4, 4, 3), low=0, high=255)
    image = reader.read(picture)
    assert image.dtype == np.uint8
    assert image.tolist() == [[[0] * 3] * 2 + [[255] * 3] * 2] * 4


def test_other_shapes_are_resized_whole(picture):
    image = FileReader(shape=(4, 2, 1), low=0, high=255).read(picture)
    assert image.shape == (4, 2, 1)
    assert image.dtype == np.uint8
    assert (image[:, 0] < 60).all()
    assert (image[:, 1] > 195).all()


def test_levels_become_the_units_of_the_data_set(picture):
    image = FileReader(shape=(4, 6, 1), low=-100, high=300).read(picture)
    np.testing.assert_allclose(image[..., 0], [[-100] * 3 + [300] * 3] * 4)


def test_a_data_set_reads_its_own_files_as_before(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8)).save(
            tmp_path / name / "i.png"
        )
    for settings in ({}, {"side": 6}, {"side": 6, "channels": 3}):
        dataset = load("folder", path=str(tmp_path), **settings)
        reader = reader_of(dataset)
        files = [tmp_path / name / "i.png" for name in ("train/a", "train/b", "test/a", "test/b")]
        np.testing.assert_array_equal([reader.read(file) for file in files], dataset.images)


def test_files_under_a_folder(tmp_path, picture):
    reader = FileReader(shape=(4, 4, 1), low=0, high=255)
    (tmp_path / "b" / ".c").mkdir(parents=True)
    for name in ("b/z.JPG", "b/.hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert reader.find(tmp_path) == [picture, tmp_path / "b" / "z.JPG"]
    assert reader.find(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(InputError, match="c holds no files that end in .*png"):
        reader.find(tmp_path / "b" / ".c")
    with pytest.raises(InputError, match="nothing does not exist"):
        reader.find(tmp_path / "nothing")
    with pytest.raises(InputError, match="notes.txt cannot be read: "):
        reader.read(tmp_path / "notes.txt")


def test_volumes_need_one_channel(picture):
    with pytest.raises(InputError, match="volumes have 2 channels, a volume file has only one"):
        FileReader(shape=(4, 4, 4, 2), low=0, high=255).read(picture)


def test_what_is_not_read_of_a_folder_is_said(tmp_path, picture, capsys):
    for name in ("a/1.png", "a/1_mask.png", "a/x.heic", "a/y.heic", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = FileReader(shape=(4, 4, 1), low=0, high=255).find(tmp_path / "a")
    assert found == [tmp_path / "a" / "1.png"]
    said = capsys.readouterr().err
    assert "files that are no images: .heic (2), .txt (1)" in said
    assert "1 masks are left out, such as 1_mask.png of 1.png" in said
