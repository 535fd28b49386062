"""What a backbone is, and what the backbones of this package share."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.norm import BatchNorm

LAST = "last"
POOLED = "pooled"


@runtime_checkable
class Backbone(Protocol):
    """A Flax module that maps images to feature maps; `docs/adding_a_backbone.md` has an example.

    A backbone is a frozen dataclass, so it is hashable and static under jit. Every proxy task,
    fine-tuning, feature extraction and Grad-CAM use it only in the way described here.

    Attributes:
      bn_momentum: the share of the running statistics that a training batch leaves. Feature
        extraction sets it to 0 to estimate the statistics again. A backbone without BatchNorm needs
        no such field.
      activation: the function in place of every ReLU. Guided Grad-CAM changes its gradient. A
        backbone without such a field has the plain gradient there.
    """

    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to the mapping that `feature_maps` makes.

        Args:
          x: `[b, *space, c]`, with two or three spatial axes.
          train: normalise by the batch, move the running statistics (`batch_stats`), and drop
            out with the stream `dropout`. Without it the network is deterministic.
        """
        ...

    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any: ...

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any: ...

    def clone(self, **updates: Any) -> Any:
        """The same network with other fields, and with weights of the same names."""
        ...

    def __hash__(self) -> int: ...


def feature_maps(stages: Mapping[str, Float[Array, "b *space c"]]) -> dict[str, Array]:
    """The mapping that a backbone returns.

    Args:
      stages: feature maps by name, from the shallowest to the deepest. Users choose one by its name
        as a layer to compare, so names are `stem` and `stage1`, `stage2`, ....

    Returns:
      The stages, and two entries more:
        last: the deepest map again. Grad-CAM explains it and the decoder of inpainting reads it.
        pooled: `[b, d]`, its mean over the spatial axes in float32. Heads and probes read it.
      `SideBySide` concatenates every entry along the channels.
    """
    *_, last = stages.values()
    return {**stages, LAST: last, POOLED: global_average(last)}


def in_training(
    backbone: nn.Module, variables: Mapping[str, Any], x: Array, key: jax.Array | None = None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """A backbone's mapping in training mode, and its new running statistics: {} without BatchNorm.

    `key` is that of the stream `dropout`. None switches every `nn.Dropout` off; what else draws
    from the stream gets the same numbers in every call.
    """
    rngs = {"dropout": jax.random.key(0) if key is None else key}
    with nn.intercept_methods(_undropped) if key is None else contextlib.nullcontext():
        maps, updated = backbone.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)
    return maps, updated.get("batch_stats", {})


def _undropped(run: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext):
    return args[0] if isinstance(context.module, nn.Dropout) else run(*args, **kwargs)


def adapted(backbone: nn.Module, **fields: Any) -> nn.Module:
    """The same network with other values of those `fields` that it has."""
    own = {field.name for field in dataclasses.fields(backbone)}
    return backbone.clone(**{name: value for name, value in fields.items() if name in own})


def global_average(x: Float[Array, "b *space c"]) -> Float[Array, "b c"]:
    """Mean over the spatial axes, in float32."""
    return jnp.mean(x.astype(jnp.float32), axis=tuple(range(1, x.ndim - 1)))


def batch_norm(train: bool, dtype: Any, momentum: float, name: str) -> Callable[[Array], Array]:
    """The BatchNorm layer `name`, in training or in evaluation mode."""
    return functools.partial(BatchNorm(momentum, dtype, name=name), train=train)


class ConvNet(nn.Module):
    """The settings that ResNet and VGG share.

    Attributes:
      width: multiplier of all channel counts.
      delay: for each spatial axis, how many of the network's halvings leave it unchanged, for
        volumes of few slices; `()` means that every halving halves every axis.
      dtype: compute dtype; parameters and BatchNorm statistics stay float32.
      bn_momentum: the share of the running statistics that a training batch leaves.
      activation: the function in place of every ReLU.
      remat: recompute activations in the backward pass instead of keeping them (Chen et al. 2016,
        "Training deep nets with sublinear memory cost"). It needs less memory and one more forward
        pass. Weights have the same names, and results are the same up to rounding.
    """

    width: float = 1.0
    delay: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    bn_momentum: float = 0.9
    activation: Callable[[Array], Array] = nn.relu
    remat: bool = False

    def channels(self, full: int) -> int:
        """The channel count of a layer that has `full` channels at width 1."""
        return max(1, round(full * self.width))

    def norm(self, train: bool, name: str) -> Callable[[Array], Array]:
        """The network's BatchNorm layer `name`."""
        return batch_norm(train, self.dtype, self.bn_momentum, name)

    def recomputed(self, layer: Any, *, static: tuple[int, ...]) -> Any:
        """`layer`, a module class or a function of a module, recomputed if `remat` says so.

        `static` are the positions of the arguments that are Python values, not arrays.
        """
        return nn.remat(layer, static_argnums=static) if self.remat else layer
