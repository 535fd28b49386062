"""What holds for every image operation, whatever the images and the key."""

import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assl_jax import ops
from assl_jax.ops import colour, crop, curve, resample, rotate, shuffle
from assl_jax.ops.intensity import Intensity

pytestmark = pytest.mark.slow  # two large compilations
SHAPES = {"rgb": (3, 8, 6, 3), "volume": (3, 6, 5, 4, 1)}
BOTH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
KEYS = st.integers(0, 2**32 - 1)
OF_THE_DATA = Intensity(mean=(0.4,), std=(0.3,))


def unit(shape):
    """Unit intensities; most are equal, as in real images."""
    return arrays(np.float32, shape, elements=st.floats(0, 1, width=32))


def full(x):
    """Whole images as one box each."""
    return jnp.zeros((len(x), 1, x.ndim - 2), jnp.int32), x.shape[1:-1]


def bent(x, rise):
    """Intensities by a table of each image: the identity at 0."""
    line = jnp.linspace(0.0, 1.0, 9)
    return curve.apply_table(x, jnp.stack([(1 - rise) * line + rise * line**2] * len(x)))


def mixed(x, share):
    """Every axis by one matrix: the identity at 0."""
    matrices = [(1 - share) * jnp.eye(n) + share / n for n in x.shape[1:-1]]
    return resample.apply_matrices(x, [jnp.stack([m] * len(x)) for m in matrices])


def shuffled(key, x, window):
    keys = jax.random.bits(key, (len(x), *(2 * window for _ in x.shape[1:-1])), jnp.uint32)
    return shuffle.shuffle_windows(x, keys, full(x)[0][:, 0], [window] * (x.ndim - 2))


# Operations that keep the shape of unit intensities: strong settings, and those of no strength.
SETTINGS = {
    colour.colour_jitter: (
        {"probability": 0.7},
        {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0},
    ),
    colour.random_grey: ({"probability": 0.5}, {"probability": 0}),
    crop.random_flip: ({}, {"probability": 0}),
    curve.random_curve: ({"levels": 64}, {"levels": 64, "probability": 0, "inverted": 0}),
    resample.random_resized_crop: ({}, {"scale": (1, 1), "ratio": (1, 1)}),
    resample.random_blur: ({}, {"sigma": (0.0, 0.0), "probability": 1}),
    shuffle.random_shuffle: ({"fraction": 0.4}, {"probability": 0}),
}
SAME_SHAPE = {
    **{
        operation.__name__: tuple(functools.partial(operation, **each) for each in settings)
        for operation, settings in SETTINGS.items()
    },
    "random_shift": (
        lambda key, x: crop.random_shift(key, x, 2),
        lambda key, x: crop.random_shift(key, x, 0),
    ),
    "random_crop": (
        lambda key, x: crop.random_crop(key, jnp.repeat(x, 2, 1), x.shape[1:-1]),
        lambda key, x: crop.random_crop(key, x, x.shape[1:-1]),
    ),
    "cut": (
        lambda key, x: crop.cut(jnp.repeat(x, 2, 2), full(x)[0] + 1, full(x)[1])[:, 0],
        lambda key, x: crop.cut(x, *full(x))[:, 0],
    ),
    "apply_table": (lambda key, x: bent(x, 0.7), lambda key, x: bent(x, 0.0)),
    "apply_matrices": (lambda key, x: mixed(x, 0.3), lambda key, x: mixed(x, 0.0)),
    "resize": (
        lambda key, x: resample.resize(x[:, :3], x.shape[1:-1]),
        lambda key, x: resample.resize(x, x.shape[1:-1]),
    ),
    "rotate": (
        lambda key, x: rotate.rotate(x, ((0, 1), 2)),
        lambda key, x: rotate.rotate(x, rotate.IDENTITY),
    ),
    "shuffle_windows": (lambda key, x: shuffled(key, x, 2), lambda key, x: shuffled(key, x, 1)),
    "Intensity": (
        lambda key, x: OF_THE_DATA.unstandardise(1.5 * OF_THE_DATA.standardise(x)),
        lambda key, x: OF_THE_DATA.unstandardise(OF_THE_DATA.standardise(x)),
    ),
}
# No images of the same shape, or none of unit intensities: the tests of their files have them.
OTHERS = {"grey", "standardise_each", "bezier_table", "resize_matrix", "blur_matrix"} | {
    *("random_starts", "box_mask", "random_boxes", "rotation_classes", "chance", "change_some")
}


@functools.cache
def everything(strength):
    """All operations in one compiled program; each alone would take longer to compile."""

    def run(key, x):
        return {name: pair[strength](key, x) for name, pair in SAME_SHAPE.items()}

    compiled = jax.jit(run)
    return lambda seed, x: jax.device_get(compiled(jax.random.key(seed), jnp.asarray(x)))


STRONG, NONE = 0, 1


def test_no_operation_is_left_out():
    found = set()
    for module in pkgutil.iter_modules(ops.__path__, "assl_jax.ops."):
        members = vars(importlib.import_module(module.name)).items()
        found |= {
            name
            for name, member in members
            if getattr(member, "__module__", "") == module.name
            and (inspect.isfunction(member) or inspect.isclass(member))
            and not name.startswith("_")
        }
    assert found == SAME_SHAPE.keys() | OTHERS


@BOTH
@given(data=st.data(), seed=KEYS)
def test_shape_type_and_range_stay_and_the_key_decides(shape, data, seed):
    x = data.draw(unit(shape))
    first, again = everything(STRONG)(seed, x), everything(STRONG)(seed, x)
    for name, y in first.items():
        assert y.shape == x.shape and y.dtype == x.dtype, name
        assert y.min() >= -1e-6 and y.max() <= 1 + 1e-6, name
        np.testing.assert_array_equal(y, again[name], err_msg=name)


@BOTH
@given(data=st.data(), seed=KEYS)
def test_an_image_does_not_depend_on_its_neighbours(shape, data, seed):
    x, others = data.draw(unit(shape)), data.draw(unit(shape))
    kept = data.draw(st.integers(0, len(x) - 1))
    others[kept] = x[kept]
    before, after = everything(STRONG)(seed, x), everything(STRONG)(seed, others)
    for name, y in before.items():
        np.testing.assert_allclose(y[kept], after[name][kept], atol=1e-6, err_msg=name)


@BOTH
@given(data=st.data(), seed=KEYS)
def test_no_strength_is_the_identity(shape, data, seed):
    x = data.draw(unit(shape))
    for name, y in everything(NONE)(seed, x).items():
        np.testing.assert_allclose(y, x, atol=2e-6, err_msg=name)


def test_at_full_strength_every_operation_does_something():
    """Or the properties above would hold for operations that do nothing."""
    for shape in SHAPES.values():
        x = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
        changed = {
            name
            for k in range(6)
            for name, y in everything(STRONG)(k, x).items()
            if np.abs(y - x).max() > 1e-3
        }
        expected = set(SAME_SHAPE) - ({"random_grey"} if shape[-1] == 1 else set())
        assert changed == expected
