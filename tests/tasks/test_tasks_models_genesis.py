"""Models Genesis: each change alone, and an undistorted image as the target."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.intensity import Intensity
from assl_jax.tasks.base import Batch
from assl_jax.tasks.models_genesis import ModelsGenesis

INTENSITY = Intensity(mean=(0.4,), std=(0.3,))
QUARTERS = [0, 0.25, 0.5, 0.75, 1]
OFF = {"flip": 0, "shuffle": 0, "curve": 0, "paint": 0}  # as a user writes them
SHAPES = pytest.mark.parametrize("shape", [(20, 14, 21, 3), (20, 7, 12, 14, 1)])


def stored(shape):
    """Integers from 1 to 254: no value is clipped."""
    return np.random.default_rng(0).integers(1, 255, shape, dtype=np.uint8)


def unit(inputs):
    return np.asarray(inputs, np.float64) * 0.3 + 0.4


def run(make, images, key=0, **settings):
    """Inputs and target image, both as unit intensities `[b, *space, c]`."""
    batch = make(ModelsGenesis(intensity=INTENSITY, **OFF | settings), images, key=key)
    assert batch.inputs.shape == (len(images), 1, *images.shape[1:])
    assert batch.inputs.dtype == batch.targets["image"].dtype == jnp.float32
    return unit(batch.inputs[:, 0]), unit(batch.targets["image"])


def changed(images, others):
    """`[b, *space]`; a voxel changes in all its channels or in none."""
    differs = np.abs(images - others) > 1e-6
    np.testing.assert_array_equal(differs.any(-1), differs.all(-1))
    return differs.all(-1)


def sides_of_box(mask):
    """The sides of the box that `mask` is."""
    inside = np.argwhere(mask)
    sides = np.ptp(inside, axis=0) + 1
    assert len(inside) == sides.prod()
    return sides


@SHAPES
def test_without_changes_the_inputs_are_the_images(make, shape):
    images = stored(shape)
    inputs, whole = run(make, images)
    np.testing.assert_array_equal(inputs, whole)
    np.testing.assert_allclose(whole, images / 255, atol=1e-6)


@pytest.mark.slow
@SHAPES
@pytest.mark.parametrize("change", ["shuffle", "curve", "paint"])
def test_no_change_reaches_the_target_image(make, shape, change):
    images = stored(shape)
    inputs, whole = run(make, images, **{change: 1.0})
    np.testing.assert_allclose(whole, images / 255, atol=1e-6)
    differs = np.abs(inputs - whole).reshape(len(images), -1).max(1)
    assert (differs > 0.01).all() and inputs.min() > -1e-6 and inputs.max() < 1 + 1e-6
    again, _ = run(make, images, key=1, **{change: 1.0})
    assert (np.abs(inputs - again).reshape(len(images), -1).max(1) > 1e-3).all()
    voxels, before = (np.sort(x.reshape(len(x), -1)) for x in (inputs, whole))
    if change == "shuffle":
        np.testing.assert_array_equal(voxels, before)
    if change == "curve":
        for x, y in zip(whole, inputs, strict=True):
            slope = np.diff(y.ravel()[np.argsort(x.ravel())])
            assert (slope >= -1e-6).all() or (slope <= 1e-6).all()


@pytest.mark.slow
@SHAPES
def test_flips_mirror_inputs_and_image_alike(make, shape):
    images = stored(shape)
    axes = range(1, len(shape) - 1)
    inputs, whole = run(make, images, flip=1.0)
    np.testing.assert_array_equal(inputs, whole)
    np.testing.assert_allclose(whole, np.flip(images, axes) / 255, atol=1e-6)
    seen = {}
    for key in range(5):
        inputs, whole = run(make, images, key, flip=0.4)
        np.testing.assert_array_equal(inputs, whole)
        for subset in (s for r in range(len(axes) + 1) for s in itertools.combinations(axes, r)):
            same = np.abs(np.flip(images, subset) / 255 - whole) < 1e-6
            seen[subset] = seen.get(subset, 0) + same.reshape(len(images), -1).all(1).sum()
    assert sum(seen.values()) == 100 and min(seen.values()) > 0  # each axis independently
    for axis in axes:
        assert 25 <= sum(n for subset, n in seen.items() if axis in subset) <= 55


@pytest.mark.slow
@SHAPES
@pytest.mark.parametrize("inpaint", [1.0, 0.0])
def test_one_box_of_noise_or_noise_around_one_box(make, shape, inpaint):
    inputs, whole = run(make, stored(shape), paint=1.0, inpaint=inpaint, boxes=1)
    noisy = changed(inputs, whole)
    low, high = (1 / 6, 1 / 3) if inpaint else (3 / 7, 4 / 7)
    space = np.asarray(shape[1:-1])
    sides = np.array([sides_of_box(mask if inpaint else ~mask) for mask in noisy])
    np.testing.assert_array_equal(sides.min(0), np.round(low * space))
    np.testing.assert_array_equal(sides.max(0), np.round(high * space))
    noise = inputs[noisy]
    np.testing.assert_allclose(np.quantile(noise, [0, 0.25, 0.5, 0.75, 1]), QUARTERS, atol=0.06)
    assert np.ptp(noise, axis=-1).min() > 0 or shape[-1] == 1  # not one grey for all channels
    assert len(np.unique(noise.round(6))) > 0.95 * noise.size


@pytest.mark.slow
@pytest.mark.parametrize("inpaint, side", [(1.0, 1 / 4), (0.0, 1 / 2)])
def test_more_boxes_hide_or_keep_more(make, inpaint, side):
    def share(**settings):
        inputs, whole = run(make, stored((60, 48, 48, 1)), paint=1.0, inpaint=inpaint, **settings)
        return (changed(inputs, whole) == inpaint).mean()

    assert share(another=0.0) == pytest.approx(side**2, rel=0.1)
    assert 1.5 * side**2 < share(another=1.0) < 5 * side**2


@pytest.mark.slow
@pytest.mark.parametrize("change", ["shuffle", "curve"])
def test_painting_comes_last(make, change):
    """Noise is not shuffled or curved; voxels that out-painting keeps are."""
    images = stored((20, 24, 24, 1))
    setting = {change: 1.0, "inverted": 1.0, "boxes": 1}
    inputs, _ = run(make, images, **setting)
    painted, whole = run(make, images, **setting, paint=1.0, inpaint=0.0)
    noisy = changed(painted, inputs)
    assert all(sides_of_box(~mask).min() >= 10 for mask in noisy)
    kept = ~noisy[..., None] & (np.abs(inputs - whole) > 1e-3)
    assert kept.any((1, 2, 3)).all()
    np.testing.assert_allclose(np.quantile(painted[noisy], QUARTERS), QUARTERS, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("setting, probability", [("shuffle", 0.5), ("curve", 0.9), ("paint", 0.9)])
def test_default_probabilities_are_the_papers(make, setting, probability):
    images = stored((300, 8, 8, 1))
    default = getattr(ModelsGenesis(), setting)
    inputs, whole = run(make, images, **{setting: default})
    share = (np.abs(inputs - whole) > 1e-6).any((1, 2, 3)).mean()
    assert share == pytest.approx(probability, abs=0.08)


@pytest.mark.slow
def test_one_in_five_is_painted_inside(make):
    noisy = changed(*run(make, stored((300, 24, 24, 1)), paint=1.0, boxes=1))
    assert (noisy.mean((1, 2)) < 0.2).mean() == pytest.approx(0.2, abs=0.07)


@pytest.mark.slow
def test_all_at_once_on_what_the_window_clips(make):
    """Stored values outside the window are clipped first."""
    images = np.random.default_rng(0).integers(-2000, 2000, (8, 7, 12, 14, 1)).astype(np.int16)
    task = ModelsGenesis(intensity=Intensity(low=-1000.0, high=1000.0, mean=(0.4,), std=(0.3,)))
    batch = make(task, images)
    inputs, whole = unit(batch.inputs[:, 0]), unit(batch.targets["image"])
    for x in (inputs, whole):
        assert x.min() > -1e-6 and x.max() < 1 + 1e-6
    clipped = np.sort(np.clip(images / 2000 + 0.5, 0, 1).reshape(8, -1))
    np.testing.assert_allclose(np.sort(whole.reshape(8, -1)), clipped, atol=1e-6)
    assert (np.abs(inputs - whole) > 1e-3).any((1, 2, 3, 4)).all()


def test_loss_counts_every_voxel(quick_jit):
    image = jnp.asarray(stored((2, 4, 6, 3)), jnp.float32)
    batch = Batch(image[:, None], {"image": image})
    loss = quick_jit(lambda outputs: ModelsGenesis().loss(outputs, batch)[0])
    assert loss(image[:, None]) == 0
    off = image.at[0, :2].add(2.0).at[1, 0, 0, 0].add(12.0)
    # Half of the first image is off by 2; in the second 1 of 72 values, by 12.
    np.testing.assert_allclose(loss(off[:, None]), (0.5 * 4 + 144 / 72) / 2, rtol=1e-5)
