"""One volume file: its reader, cropping, resampling and integers."""

import numpy as np
import pytest
from data_sets import HU, spl
from data_sets import nifti as save

from assl_jax.data.decoding import Header
from assl_jax.data.orientation import Stored
from assl_jax.data.volume_file import VolumeFormat, read_volume, volume_header
from assl_jax.data.volume_folder import find_volumes
from assl_jax.data.volume_reader import READERS, VolumeReader, stamp
from assl_jax.errors import InputError

WIDE = VolumeFormat(window=(-1024.0, 3071.0))


def read(path, **settings):
    return read_volume(path, VolumeFormat(**settings))


def test_a_folder_can_be_a_volume(tmp_path, monkeypatch):
    """Slices in a folder, as a DICOM series: found once, and a new slice changes the stamp."""
    series = VolumeReader((), lambda path: None, lambda path: path.name.startswith("series"))
    monkeypatch.setitem(READERS, "series", series)
    for name in ("a/series1/x", "a/series1/y", "a/b/z.NII.gz", "a/.hidden.nii", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    assert find_volumes(tmp_path).volumes == [tmp_path / "a/b/z.NII.gz", tmp_path / "a/series1"]
    before = stamp(tmp_path / "a/series1")
    assert before[0] == 10 and stamp(tmp_path / "a/b/z.NII.gz")[0] == 5
    (tmp_path / "a/series1/x").write_text("54321")
    assert stamp(tmp_path / "a/series1")[1] > before[1]


def test_a_format_is_one_entry(tmp_path, monkeypatch):
    """NumPy arrays as volumes: the first reader that accepts a file reads it."""
    np.save(tmp_path / "a.npy", HU)
    with pytest.raises(ValueError, match=r"its format is none of NIfTI \(\.nii.*DICOM \(\.dcm\)$"):
        read(tmp_path / "a.npy")

    def describe(path):
        array = np.load(path, allow_pickle=False)
        return Stored(array.shape, spl((3.0, 1.0, 1.0)), lambda: array)

    monkeypatch.setitem(READERS, "NumPy", VolumeReader((".npy",), describe))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy", WIDE)[..., 0], HU)
    np.testing.assert_array_equal(
        read(tmp_path / "a.npy", window=WIDE.window, spacing=(1.0, 2.0, 1.0)),
        read(
            save(tmp_path / "a.nii", affine=spl((3.0, 1.0, 1.0))),
            window=WIDE.window,
            spacing=(1.0, 2.0, 1.0),
        ),
    )
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.npy")


def test_a_window_clips_and_rounds_the_scaled_values(tmp_path):
    values = np.linspace(-300, 300, 24).reshape(2, 3, 4)
    file = save(tmp_path / "a.nii", values)
    expected = [[[round(min(max(v, -100), 200)) for v in r] for r in s] for s in values.tolist()]
    np.testing.assert_array_equal(read(file, window=(-100.0, 200.0))[..., 0], expected)
    # Stored bytes 0..255 stand for -1024 + 8 * byte.
    stored = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
    file = save(tmp_path / "b.nii", stored, slope=(1, 0))
    raw = bytearray(file.read_bytes())
    raw[112:120] = np.array([8, -1024], "<f4").tobytes()  # scl_slope, scl_inter
    file.write_bytes(raw)
    expected = np.clip(-1024 + 8 * stored.astype(int), -1000, 500)
    np.testing.assert_array_equal(read(file, window=(-1000.0, 500.0))[..., 0], expected)


def test_percentiles_by_hand(tmp_path):
    # 1,001 values 0..1000: the percentiles 0.5 and 99.5 are 5 and 995.
    values = np.random.default_rng(0).permutation(1001).reshape(7, 11, 13)
    volume = read(save(tmp_path / "a.nii", values.astype(np.float32) / 4))[..., 0]
    expected = np.rint(np.clip((values - 5) / 990, 0, 1) * 1000)
    assert np.abs(volume - expected).max() <= 1  # values half-way between two integers
    assert (volume == expected).mean() > 0.98
    assert (volume[values <= 5] == 0).all() and (volume[values >= 995] == 1000).all()


def test_foreground_is_cropped_first(tmp_path):
    values = np.full((6, 7, 8), -1000, np.int16)
    values[2:5, 1:4, 3:7] = HU[:3, :3, :4] % 100 + 1
    values[2, 1, 3] = 0  # not above 0, but inside the bounding box
    file = save(tmp_path / "a.nii", values)
    settings = {"window": (-100.0, 500.0), "foreground_above": 0.0}
    np.testing.assert_array_equal(read(file, **settings)[..., 0], values[2:5, 1:4, 3:7])
    box = save(tmp_path / "b.nii", values[2:5, 1:4, 3:7])
    np.testing.assert_array_equal(
        read(file, **settings, shape=(5, 5, 5)), read(box, window=(-100.0, 500.0), shape=(5, 5, 5))
    )


def resampled(line, centres, step):
    """Linear interpolation; with a step above 1, an average with triangular weights."""
    n, width, out = len(line), max(step, 1.0), []
    for centre in centres:
        centre = min(max(centre, 0.5), n - 0.5)
        weights = [max(0.0, 1 - abs(i + 0.5 - centre) / width) for i in range(n)]
        total = sum(w * float(v) for w, v in zip(weights, line, strict=True))
        out.append(total / sum(weights))
    return out


def reference(values, steps, out):
    """`values` on a grid of `out` voxels, `steps` voxels apart, about the centre."""
    values = values.astype(float)
    for axis, (step, m) in enumerate(zip(steps, out, strict=True)):
        n = values.shape[axis]
        centres = [n / 2 + (i + 0.5 - m / 2) * step for i in range(m)]
        values = np.apply_along_axis(resampled, axis, values, centres, step)
    return values


def test_resizing_against_a_slow_reference(tmp_path):
    file = save(tmp_path / "a.nii")
    volume = read(file, shape=(6, 3, 6), window=WIDE.window)[..., 0]
    expected = reference(HU, (4 / 6, 5 / 3, 1.0), (6, 3, 6))
    assert np.abs(volume - expected).max() <= 0.51


def test_spacing_against_a_slow_reference(tmp_path):
    file = save(tmp_path / "a.nii", affine=spl((3.0, 1.0, 0.75)))
    settings = {"window": WIDE.window, "spacing": (1.0, 2.0, 0.75)}
    volume = read(file, **settings)[..., 0]
    expected = reference(HU, (1 / 3, 2.0, 1.0), (12, 2, 6))
    assert volume.shape == (12, 2, 6)
    assert np.abs(volume - expected).max() <= 0.51
    # The centre box: of an odd number of voxels to cut off, one more is cut off at the end.
    np.testing.assert_array_equal(
        read(file, **settings, shape=(7, 2, 4))[..., 0], volume[2:9, :, 1:5]
    )


def test_a_spacing_that_the_file_has_changes_nothing(tmp_path):
    # A stored affine is rounded. Values half-way between integers show the smallest difference.
    file = save(tmp_path / "a.nii", HU + 0.5, spl((5.0, 0.7, 0.70003)))
    spacing = (5.0, 0.7, 0.7)
    volume = read(file, window=WIDE.window, spacing=spacing)[..., 0]
    np.testing.assert_array_equal(volume, np.rint(HU + 0.5))
    box = read(file, window=WIDE.window, spacing=spacing, shape=(2, 3, 2))
    np.testing.assert_array_equal(box[..., 0], volume[1:3, 1:4, 2:4])


def test_a_constant_volume_is_fine_in_a_window(tmp_path):
    file = save(tmp_path / "a.nii", np.full((3, 4, 5), 7, np.int16))
    assert (read_volume(file, WIDE) == 7).all()


def test_no_foreground_and_volumes_smaller_than_the_box(tmp_path):
    file = save(tmp_path / "a.nii")
    with pytest.raises(ValueError, match="above data.foreground_above=3000"):
        read(file, foreground_above=3000.0)
    assert volume_header(file, VolumeFormat(foreground_above=3000.0)) == Header((), "SPL")
    box = VolumeFormat(spacing=(1.0, 1.0, 1.0), shape=(4, 6, 6))
    thick = VolumeFormat(spacing=(1.0, 100.0, 1.0))
    for each in (read_volume, volume_header):
        with pytest.raises(ValueError, match=r"\(4, 5, 6\) .*than data\.shape=\(4, 6, 6\)"):
            each(file, box)
        with pytest.raises(ValueError, match=r"data\.spacing=\(1\.0, 100\.0, 1\.0\) leaves no"):
            each(file, thick)


def test_limits():
    assert VolumeFormat(window=(0.0, 32.0)).limits == (0.0, 32.0)
    assert VolumeFormat().limits == (0.0, 1000.0)


def test_voxels_that_are_no_numbers_are_replaced_as_asked(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4) * 10 - 50
    values[0, 0] = np.nan
    values[1, 2, 3] = np.inf
    file = save(tmp_path / "a.nii", values)
    with pytest.raises(ValueError, match="5 of 24 voxels are NaN or infinite; set data.nan=lowest"):
        read(file, window=(-1000.0, 500.0))
    for nan, fill in (("lowest", -10), ("-1000", -1000), ("0", 0)):
        expected = np.where(np.isfinite(values), values, fill)
        volume = read(file, window=(-1000.0, 500.0), nan=nan)
        np.testing.assert_array_equal(volume[..., 0], expected)
    cropped = read(file, window=(-1000.0, 500.0), nan="-1000", foreground_above=-900.0)
    assert cropped.shape == (2, 3, 4, 1)
    with pytest.raises(ValueError, match="every voxel is NaN"):
        read(save(tmp_path / "b.nii", values * np.nan), nan="lowest")
    for nan in ("nan", "inf", "min", ""):
        with pytest.raises(InputError, match=r"^data\.nan="):
            VolumeFormat(nan=nan)


def test_a_new_setting_leaves_caches_valid():
    old = {"shape": (), "spacing": (), "window": (), "foreground_above": None}
    assert VolumeFormat().settings == old
    assert VolumeFormat(nan="0").settings == old | {"nan": "0"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shape": (3, 3, 3)},
        {"spacing": (2.0, 0.7, 1.0)},
        {"spacing": (1.0, 1.0, 1.0), "shape": (3, 2, 4)},
        {"foreground_above": 0.0, "shape": (3, 3, 3)},
    ],
)
def test_the_header_gives_the_shape_of_the_result(tmp_path, settings):
    file = save(tmp_path / "a.nii.gz", affine=spl((1.5, 0.5, 1.0)))
    format = VolumeFormat(window=WIDE.window, **settings)
    header = volume_header(file, format)
    assert header == Header(read_volume(file, format).shape, "SPL")
