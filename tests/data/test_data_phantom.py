"""The generated phantoms."""

import numpy as np
import pytest

from assl_jax.data.phantom_ct import CLASSES, PhantomCT, phantom

SMALL = {"volumes": 24, "shape": (8, 12, 10), "labels": 8, "test": 8}


def test_data_set():
    data = PhantomCT(**SMALL).load()
    assert data.images.shape == (24, 8, 12, 10, 1) and data.images.dtype == np.int16
    assert (data.images.min(), data.images.max()) == (-20, 100)
    assert (data.intensity.low, data.intensity.high) == (-20.0, 100.0)
    for rows, each in ((data.labelled_sets[0], 2), (data.test, 2), (np.arange(24), 6)):
        assert np.bincount(data.labels[rows]).tolist() == [each] * 4
    assert sorted([*data.unlabeled, *data.test]) == list(range(24))
    assert set(data.labelled_sets[0]) <= set(data.unlabeled)


def test_a_volume_depends_on_seed_shape_and_number_alone():
    volume = phantom(5, shape=(8, 12, 10))
    np.testing.assert_array_equal(volume, phantom(5, shape=(8, 12, 10)))
    assert (volume != phantom(5, shape=(8, 12, 10), seed=1)).any()
    assert (volume != phantom(6, shape=(8, 12, 10))).any()
    clipped = np.clip(volume, -20, 100)[..., None]
    np.testing.assert_array_equal(PhantomCT(**SMALL).load().images[5], clipped)


def test_heads_are_made_of_air_bone_and_brain():
    volume = phantom(0, shape=(24, 48, 48)).astype(float)
    assert volume[12, 1, 1] < -900  # a corner
    assert volume.max() > 700
    assert 20 < np.median(volume[8:16, 18:30, 18:30]) < 50


@pytest.mark.slow
def test_the_place_of_the_blood_tells_the_class():
    """The same heads with and without a bleeding differ at its place."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 48, 48)), indexing="ij")
    radius = np.sqrt((z / 0.88) ** 2 + (y / 0.80) ** 2 + (x / 0.66) ** 2)
    outward, height, size = {}, {}, {}
    for name in CLASSES:
        changes = [
            phantom(i, shape=z.shape, lesion=name) - phantom(i, shape=z.shape, lesion="")
            for i in range(12)
        ]
        weight = np.nan_to_num(np.mean(changes, axis=0)).clip(0)
        assert np.abs(changes).max() > 30
        outward[name] = (weight * radius).sum() / weight.sum()
        height[name] = (weight * z).sum() / weight.sum()
        size[name] = np.mean([(change > 10).sum() for change in changes])
    # Deep and lobar bleedings overlap in place, which makes the classes hard to tell apart.
    assert outward["lobar"] > outward["deep"] + 0.04 > outward["ventricular"] + 0.2
    assert height["subarachnoid"] < -0.25 < min(height[n] for n in CLASSES if n != "subarachnoid")
    assert size["subarachnoid"] > size["deep"] > 0
    natural = phantom(6, shape=z.shape)
    np.testing.assert_array_equal(natural, phantom(6, shape=z.shape, lesion="subarachnoid"))
