"""Where a fine-tuned network looks: Grad-CAM and Guided Grad-CAM of its last convolution stage."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from assl_jax.data import Dataset
from assl_jax.evaluation.embedding import in_turn
from assl_jax.evaluation.export import Model
from assl_jax.models import SideBySide
from assl_jax.models.base import adapted
from assl_jax.models.heads import last_map
from assl_jax.ops.resample import resize

Variables = dict[str, Any]


class Looked(NamedTuple):
    """The explanations of one network for some images.

    Attributes:
      places: spatial shape of the last stage's map, which is the resolution of Grad-CAM.
      predicted: predicted class and its probability as text, for each image.
      cams: Grad-CAM of the predicted class, in [0, 1].
      guided: Guided Grad-CAM, of both signs.
    """

    label: str
    places: tuple[int, ...]
    predicted: list[str]
    cams: Float[np.ndarray, "r *space"]
    guided: Float[np.ndarray, "r *space c"]


class Attention(NamedTuple):
    """Several networks' explanations for the same images.

    Attributes:
      originals: in [0, 1]; c is 1 or 3.
      truths: a line for each image: its true class, or its file.
      networks: in the order of the columns.
    """

    originals: Float[np.ndarray, "r *space c"]
    truths: list[str]
    networks: list[Looked]


def example_test_images(dataset: Dataset, n: int) -> tuple[np.ndarray, list[str]]:
    """At most `n` test images, whose classes take turns, and the names of their classes."""
    rows = dataset.test[in_turn(dataset.labels[dataset.test])[:n]]
    return dataset.images[rows], [dataset.class_names[k] for k in dataset.labels[rows]]


def attend(
    models: Mapping[str, Model], images: Shaped[np.ndarray, "r *space c"], truths: Sequence[str]
) -> Attention:
    """Explain every network's own prediction of every image of its data set, in stored values."""
    unit = next(iter(models.values())).intensity.unit
    return Attention(
        np.asarray(unit(images)),
        list(truths),
        [_look(label, model, images) for label, model in models.items()],
    )


def _look(label: str, model: Model, images: np.ndarray) -> Looked:
    backbone, variables, kernel, bias, intensity, classes, _ = model
    inputs = intensity(images)
    # One image at a time, because the gradients of one large volume can fill a device's memory.
    each = [
        jax.device_get(_explain(backbone, variables, kernel, bias, inputs[i : i + 1]))
        for i in range(len(images))
    ]
    shares, cams, guided = map(np.concatenate, zip(*each, strict=True))
    maps = jax.eval_shape(functools.partial(_apply, backbone), variables, inputs)
    words = [f"{classes[share.argmax()]} ({100 * share.max():.0f} %)" for share in shares]
    return Looked(label, last_map(maps).shape[1:-1], words, cams, guided)


@functools.partial(jax.jit, static_argnums=0)
def _explain(
    backbone: nn.Module, variables: Variables, kernel: Array, bias: Array, inputs: Array
) -> tuple[Array, Array, Array]:
    """Probabilities `[b, k]`, Grad-CAM and Guided Grad-CAM of the most probable class."""
    logits = _pooled(backbone, variables, inputs) @ kernel + bias.reshape(1, -1)
    about = (backbone, variables, kernel, inputs, logits.argmax(-1))
    return jax.nn.softmax(logits), grad_cam(*about), guided_grad_cam(*about)


@functools.partial(jax.jit, static_argnums=0)
def grad_cam(
    backbone: nn.Module,
    variables: Variables,
    kernel: Float[Array, "d k"],
    inputs: Float[Array, "b *space c"],
    classes: Int[Array, " b"],
) -> Float[Array, "b *space"]:
    """Grad-CAM: how much each position supports a class.

    Source: Selvaraju et al. 2017, Eq. 1 and 2. The weight of a channel of the last stage's map is
    the spatial mean of the gradient of the class's logit. The result is the ReLU of the weighted
    sum over channels. The logit is linear in the map's mean over space. Its gradient is therefore
    the class's column of the head, divided by the number of positions, at every position.

    Args:
      backbone, variables: see `models.base.Backbone`; `pooled` is the mean over space of its last
        map.
      kernel: of the linear head on `pooled`; the gradient does not depend on the bias.
      inputs: network inputs.
      classes: the class to explain, for each image.

    Returns:
      Maps in [0, 1], resized (linear) to the shape of the inputs. The maximum of each map is 1. A
      map is 0 everywhere if no position supports the class.
    """
    maps = last_map(_apply(backbone, variables, inputs)).astype(jnp.float32)
    positions = maps[0, ..., 0].size
    cam = nn.relu(jnp.einsum("b...d,bd->b...", maps, kernel.T[classes] / positions))
    cam = resize(cam[..., None], inputs.shape[1:-1])[..., 0]
    top = cam.max(tuple(range(1, cam.ndim)), keepdims=True)
    return cam / jnp.where(top > 0, top, 1.0)


@functools.partial(jax.jit, static_argnums=0)
def guided_grad_cam(
    backbone: nn.Module,
    variables: Variables,
    kernel: Float[Array, "d k"],
    inputs: Float[Array, "b *space c"],
    classes: Int[Array, " b"],
) -> Float[Array, "b *space c"]:
    """Guided Grad-CAM: guided backpropagation times Grad-CAM; values of both signs.

    Source: Selvaraju et al. 2017. Guided backpropagation is the gradient of the class's
    logit with respect to the inputs, with the `guided` form of every ReLU (the field `activation`
    of the backbone). The arguments are those of `grad_cam`.
    """
    network = _guided(backbone)

    def logits(inputs: Array) -> Array:
        each = _pooled(network, variables, inputs) @ kernel
        return jnp.take_along_axis(each, classes[:, None], axis=1).sum()

    cam = grad_cam(backbone, variables, kernel, inputs, classes)
    return jax.grad(logits)(inputs) * cam[..., None]


@functools.cache
def guided(activation: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A function that passes a gradient back only where its input and the gradient are positive.

    Source: guided backpropagation, Springenberg et al. 2015, for the ReLU. The values of the
    activation, such as `nn.relu`, stay.
    """

    @jax.custom_vjp
    def value(x: Array) -> Array:
        return activation(x)

    def forward(x: Array) -> tuple[Array, Array]:
        return activation(x), x

    def backward(x: Array, gradient: Array) -> tuple[Array]:
        (back,) = jax.vjp(activation, x)[1](nn.relu(gradient))
        return (jnp.where(x > 0, back, 0),)

    value.defvjp(forward, backward)
    return value


def _guided(backbone: nn.Module) -> nn.Module:
    """The network with a guided activation, if it lets one set it."""
    single = backbone.backbone if isinstance(backbone, SideBySide) else backbone
    own = getattr(single, "activation", None)
    return adapted(backbone, activation=guided(own)) if own else backbone


def _apply(backbone: Any, variables: Variables, inputs: Array) -> dict[str, Array]:
    return backbone.apply(variables, inputs, train=False)


def _pooled(backbone: nn.Module, variables: Variables, inputs: Array) -> Array:
    return _apply(backbone, variables, inputs)["pooled"]
