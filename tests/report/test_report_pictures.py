"""Volumes as three slices: which voxel is drawn where, and what a PNG holds."""

import numpy as np
import pytest
from reported import decoded

from assl_jax.report import pictures


def coded(d, h, w):
    """A volume `[d, h, w, 1]` whose voxel at z, y, x is z + y / 1000 + x / 10**6."""
    z, y, x = np.meshgrid(range(d), range(h), range(w), indexing="ij")
    return (z + y / 1000 + x / 10**6)[..., None]


def test_the_planes_of_a_volume_and_their_directions():
    picture = pictures.tile(coded(4, 6, 5))
    assert picture.shape == (6 + 1 + 4 + 1 + 4, 6, 2)  # gaps of one pixel; as wide as the sagittal
    opaque = picture[..., 1] == 1
    drawn = np.where(opaque, picture[..., 0], np.nan)
    axial = [2.000000, 2.000001, 2.000002, 2.000003, 2.000004]  # z = 2, from y = 0 on
    coronal = [3.003000, 3.003001, 3.003002, 3.003003, 3.003004]  # y = 3, from the last z on
    sagittal = [3.000002, 3.001002, 3.002002, 3.003002, 3.004002, 3.005002]  # x = 2, along y
    np.testing.assert_allclose(drawn[0, :5], axial, rtol=0, atol=1e-9)
    np.testing.assert_allclose(drawn[5, :5], np.array(axial) + 0.005, rtol=0, atol=1e-9)
    np.testing.assert_allclose(drawn[7, :5], coronal, rtol=0, atol=1e-9)
    np.testing.assert_allclose(drawn[12], sagittal, rtol=0, atol=1e-9)
    np.testing.assert_allclose(drawn[15], np.array(sagittal) - 3, rtol=0, atol=1e-9)  # z = 0
    # Narrower planes are centred: here a pixel is left over on the right.
    assert opaque[:, 5].tolist() == [False] * 12 + [True] * 4
    assert not opaque[[6, 11]].any()


def test_thick_slices_are_stretched_and_none_is_lost():
    picture = pictures.tile(coded(3, 20, 16))
    # Half of 20 is 10, so three slices are repeated 4 times.
    assert picture.shape[:2] == (20 + 1 + 12 + 1 + 12, 20)
    coronal = picture[21:33, 2:18]
    assert coronal[..., 1].all()
    assert coronal[:, 0, 0].astype(int).tolist() == [2] * 4 + [1] * 4 + [0] * 4
    large = pictures.tile(coded(30, 270, 230))
    assert large.shape[1] == 90  # every third pixel of 270
    sagittal = large[-50:]  # 30 slices, each five times, every third of these rows
    assert np.unique(sagittal[..., 0].astype(int)).tolist() == list(range(30))


def test_an_even_volume_is_not_stretched():
    assert pictures.tile(coded(16, 32, 32)).shape[:2] == (32 + 2 + 16 + 2 + 16, 32)


def test_an_image_stays_as_it_is():
    image = np.random.default_rng(0).random((300, 7, 3))
    picture = pictures.tile(image)
    np.testing.assert_array_equal(picture[..., :3], image)
    assert (picture[..., 3] == 1).all()


@pytest.mark.parametrize(
    ("views", "expected"),
    [(1, [0]), (2, [0, 1]), (10, list(range(10))), (27, [0, 3, 6, 9, 12, 14, 17, 20, 23, 26])],
)
def test_many_volumes_are_thinned_out(views, expected):
    volumes = np.stack([np.full((4, 4, 4, 1), i / 27) for i in range(views)])
    assert pictures.shown(volumes).tolist() == expected
    strip = pictures.strip(volumes)
    assert strip.shape == (4 * 3 + 2, 5 * len(expected) - 1, 2)
    np.testing.assert_allclose(strip[0, ::5, 0], np.array(expected) / 27)
    assert pictures.strip(volumes[:, 0]).shape == (4, 5 * views - 1, 2)  # images are all there


@pytest.mark.parametrize("c", [1, 3])
def test_a_png_of_an_image_and_of_its_views(c):
    original = decoded(pictures.image_png(np.full((4, 6, c), 0.5)))
    assert original.shape == ((4, 6) if c == 1 else (4, 6, 3))
    assert np.unique(original) == [128]
    views = np.stack([np.full((4, 6, c), v) for v in (0.0, 1.0, float("nan"))])
    strip = decoded(pictures.png(pictures.strip(views)))
    assert strip.shape == (4, 3 * 6 + 2, c + 1)
    alpha = strip[0, :, -1]
    np.testing.assert_array_equal(alpha, [255] * 6 + [0] + [255] * 6 + [0] + [255] * 6)
    np.testing.assert_array_equal(strip[0, [0, 7, 14], 0], [0, 255, 0])
