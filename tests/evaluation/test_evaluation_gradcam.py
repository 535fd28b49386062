"""Grad-CAM and Guided Grad-CAM, by hand, against gradients, and where the answer is known."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.data import Dataset
from assl_jax.data.file_reader import FileReader
from assl_jax.evaluation.export import Model
from assl_jax.evaluation.gradcam import (
    attend,
    example_test_images,
    grad_cam,
    guided,
    guided_grad_cam,
)
from assl_jax.models import SideBySide, make_backbone
from assl_jax.models.base import feature_maps
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.resample import resize

READER = FileReader(shape=(2, 2, 1), low=0.0, high=255.0)  # not used here
CLASSES = jnp.array([0, 2])


class Point(nn.Module):
    """One convolution of kernel 1, and the activation."""

    activation: object = nn.relu

    @nn.compact
    def __call__(self, x, *, train=False):
        kernel = self.param("kernel", nn.initializers.ones, (x.shape[-1], 2))
        x = self.activation(x @ kernel)
        return feature_maps({"stage1": x})


def point(kernel):
    return Point(), {"params": {"kernel": jnp.array(kernel, jnp.float32)}}


def test_by_hand():
    """Channels 2x and -x; class 1 weights them with 3 and -1, class 0 with -1 and 0."""
    backbone, variables = point([[2.0, -1.0]])
    head = jnp.array([[-1.0, 3.0], [0.0, -1.0]])
    x = jnp.array([[1.0, -2.0], [0.0, 4.0]]).reshape(1, 2, 2, 1)
    x = jnp.concatenate([x, x])
    # Maps 2x where x > 0 and -x where x < 0: class 1 sees 6x where x > 0, and -(-x) elsewhere.
    cam = grad_cam(backbone, variables, head, x, jnp.array([1, 0]))
    np.testing.assert_allclose(cam[0], [[0.25, 0.0], [0.0, 1.0]], atol=1e-6)
    np.testing.assert_array_equal(cam[1], np.zeros((2, 2)))  # nothing supports class 0
    # Backwards 3/4 reaches the first channel and nothing the second: 2 * 3/4 where x > 0.
    guided = guided_grad_cam(backbone, variables, head, x, jnp.array([1, 0]))
    np.testing.assert_allclose(guided[0, ..., 0], [[1.5 * 0.25, 0], [0, 1.5]], atol=1e-6)
    np.testing.assert_array_equal(guided[1], np.zeros((2, 2, 1)))


@pytest.mark.parametrize(
    "activation, value, slope",
    [
        (nn.relu, lambda x: np.maximum(x, 0), np.ones_like),
        (jnp.square, np.square, lambda x: 2 * x),
        (jnp.tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    ],
)
def test_a_guided_function_against_numpy(activation, value, slope):
    rng = np.random.default_rng(0)
    x, gradient = rng.normal(size=(2, 5, 7)).astype(np.float32)
    x[0], gradient[1] = 0.0, 0.0
    y, back = jax.vjp(guided(activation), x)
    expected = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        if x[i] > 0 and gradient[i] > 0:
            expected[i] = gradient[i] * slope(x)[i]
    np.testing.assert_allclose(y, value(x), rtol=1e-5)
    np.testing.assert_allclose(back(gradient)[0], expected, rtol=1e-4)
    assert 0 < (expected > 0).sum() < (x > 0).sum()


NETWORKS = {
    "resnet, 3D": ("resnet10", {"stem": "small"}, (4, 8, 8), 1, 1),
    "vgg, 2D": ("vgg11", {}, (16, 32), 3, 1),
    "side by side": ("resnet10", {"stem": "half"}, (16, 12), 1, 2),
}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def network(request, drawn):
    """A backbone with weights, a head, and two inputs."""
    name, settings, space, c, copies = request.param
    single = make_backbone(name, width=1 / 16, **settings)
    backbone = SideBySide(single, copies) if copies > 1 else single
    rng = np.random.default_rng(1)
    inputs = jnp.asarray(rng.normal(size=(2, *space, c)), jnp.float32)
    variables = drawn(backbone.init, inputs)
    d = jax.eval_shape(backbone.apply, variables, inputs)["pooled"].shape[-1]
    head = jnp.asarray(rng.normal(size=(d, 3)) + 0.5, jnp.float32)
    return backbone, variables, head, inputs


def last_stage(features):
    return features["stage5" if "stage5" in features else "stage4"]


@pytest.mark.slow
def test_weights_are_the_means_of_the_gradient(network, quick_jit):
    """Adding to the last stage's map, the way it is defined, against the closed form."""
    backbone, variables, head, inputs = network
    features = quick_jit(backbone.apply)(variables, inputs)
    maps = last_stage(features)
    axes = tuple(range(1, maps.ndim - 1))
    np.testing.assert_allclose(features["pooled"], maps.mean(axes), rtol=0, atol=1e-5)

    def logit(maps):
        pooled = maps.mean(axes)
        return pooled[0] @ head[:, 0] + pooled[1] @ head[:, 2]

    weights = jax.grad(logit)(maps).mean(axes, keepdims=True)
    cam = jnp.maximum((maps * weights).sum(-1, keepdims=True), 0.0)
    cam = np.asarray(resize(cam, inputs.shape[1:-1])[..., 0])
    found = np.asarray(grad_cam(backbone, variables, head, inputs, CLASSES))
    assert found.shape == inputs.shape[:-1]
    for one, slow in zip(found, cam, strict=True):
        np.testing.assert_allclose(one, slow / (slow.max() or 1.0), rtol=0, atol=1e-5)
    assert found.min() >= 0 and found.max() == pytest.approx(1.0)


@pytest.mark.parametrize("space", [(8, 8), (6, 8, 8)])
def test_a_detector_of_bright_corners_looks_there(space):
    """Channel 0 answers to light, channel 1 to darkness; class 0 wants the first."""
    backbone, variables = point([[1.0, -1.0]])
    x = np.full((1, *space, 1), -1.0, np.float32)
    corner = (slice(0, 2),) * len(space)
    x[0][corner] = 1.0
    cam = functools.partial(grad_cam, backbone, variables, jnp.eye(2), jnp.asarray(x))
    light, dark = cam(jnp.array([0]))[0], cam(jnp.array([1]))[0]
    expected = np.zeros(space)
    expected[corner] = 1.0
    np.testing.assert_allclose(light, expected, atol=1e-6)
    np.testing.assert_allclose(dark, 1 - expected, atol=1e-6)


def test_attention_of_several_networks():
    """Each network explains its own prediction, of images in stored units."""
    intensity = Intensity(low=0.0, high=100.0, mean=(0.5,), std=(0.5,))
    images = np.array([[100, 0], [0, 0]], np.int16).reshape(1, 2, 2, 1).repeat(2, 0)
    images[1] = 100 - images[1]
    light, dark = (
        Model(*point([[1.0, -1.0]]), kernel, np.zeros(2, np.float32), intensity, ["a", "b"], READER)
        for kernel in (np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1])
    )
    shown = attend({"light": light, "dark": dark}, images, ["one", "two"])
    np.testing.assert_array_equal(shown.originals, images / 100)
    assert shown.truths == ["one", "two"]
    assert [network[:2] for network in shown.networks] == [("light", (2, 2)), ("dark", (2, 2))]
    # Inputs are 1 and -1: pooled (1/4, 3/4) and (3/4, 1/4); e^0.75 / (e^0.25 + e^0.75) = 0.62.
    assert shown.networks[0].predicted == ["b (62 %)", "a (62 %)"]
    assert shown.networks[1].predicted == ["a (62 %)", "b (62 %)"]
    corner = np.array([[1.0, 0.0], [0.0, 0.0]])
    for network in shown.networks:
        np.testing.assert_allclose(network.cams, [1 - corner, 1 - corner], atol=1e-6)
        # Dark pixels support the class of the first image, bright pixels that of the second.
        signs = np.sign(network.guided[..., 0])
        np.testing.assert_array_equal(signs, [corner - 1, 1 - corner])


@pytest.mark.parametrize(
    "n, rows", [(1, [9]), (3, [9, 4, 8]), (5, [9, 4, 8, 7, 6]), (99, [9, 4, 8, 7, 6, 5])]
)
def test_example_images_take_turns_over_the_classes(n, rows):
    """The test images 5 to 9 and 4, in another order; class 0 has one, class 2 has three."""
    labels = np.array([0, 1, 2, 0, 1, 2, 2, 1, 2, 0], np.int32)
    dataset = Dataset(
        name="numbers",
        images=np.arange(10, dtype=np.uint8).reshape(-1, 1, 1, 1),
        labels=labels,
        class_names=("a", "b", "c"),
        unlabeled=np.arange(4),
        labelled_sets=(np.arange(4),),
        test=np.array([8, 4, 7, 6, 5, 9]),
        intensity=Intensity(),
    )
    images, names = example_test_images(dataset, n)
    assert images.ravel().tolist() == rows
    assert names == ["abc"[labels[row]] for row in rows]
