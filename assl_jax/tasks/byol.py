"""BYOL (Grill et al. 2020), in any number of dimensions."""

import dataclasses
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax import losses
from assl_jax.models.base import in_training
from assl_jax.models.heads import NormalisedMLP, flatten_views, unflatten_views
from assl_jax.objectives.base import Weights
from assl_jax.ranges import Range, Size, Width
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.two_views import TwoViews


class ProjectorAndPredictor(nn.Module):
    """A projection, and a prediction from it; both have one hidden layer with normalisation."""

    hidden: int
    width: int

    @nn.compact
    def __call__(
        self, features: dict, batch: Batch
    ) -> tuple[Float[Array, "b 2 d"], Float[Array, "b 2 d"]]:
        """The projection and the prediction of each view."""
        z = features["pooled"]
        widths = [self.hidden or 4 * z.shape[-1], self.width]
        projection = NormalisedMLP(widths, name="projector")(z)
        return projection, NormalisedMLP(widths, name="predictor")(projection)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BYOL(TwoViews):
    """Predict what a slow copy of the network makes of the other view.

    The slow copy is the moving average of backbone and head. It gives the targets and gets no
    gradient. There are no negatives (arXiv 2006.07733, Eq. 2, symmetric in the views).

    Attributes:
      momentum: share of itself that the slow copy keeps in each step of this task.
      hidden: width of the hidden layers; 0 means four times the width of the features.
      width: of projection and prediction.
      crop_scale, jitter, grey, blur, flip, intensity: as in `TwoViews`.

    Deviations: the momentum is constant; the source raises it from 0.99 to 1 over the training.
    The slow copy normalises by the batch, as in the source, and has no dropout.
    """

    name: ClassVar[str] = "byol"
    title: ClassVar[str] = "BYOL"
    summary: ClassVar[str] = (
        "Two random views of each image. From one, the network predicts what a slow copy of "
        "itself makes of the other."
    )
    colour: ClassVar[str] = "#333333"
    momentum: Annotated[float, Range(above=0, below=1)] = 0.99
    hidden: Size = 0
    width: Width = 128

    @property
    def passes(self) -> int:
        return 1

    def init(self, weights: Weights, maps: Any) -> Weights:
        """The slow copy."""
        return jax.tree.map(jnp.copy, weights)

    def prepare(self, batch: Batch, backbone: nn.Module, carry: Weights, frozen: Any) -> Batch:
        """The batch with the slow copy's projections `[b, 2, d]` as targets."""
        maps, _ = in_training(backbone, carry.variables, flatten_views(batch.inputs))
        features = jax.tree.map(lambda f: unflatten_views(f, batch.inputs.shape[0]), maps)
        projection, _ = self.head().apply({"params": carry.head}, features, batch)
        return batch._replace(targets=jax.lax.stop_gradient(projection))

    def after_step(self, carry: Weights, weights: Weights) -> Weights:
        """The slow copy after it has moved towards the network."""
        m = self.momentum
        return jax.tree.map(lambda old, new: m * old + (1 - m) * new, carry, weights)

    def head(self) -> nn.Module:
        return ProjectorAndPredictor(hidden=self.hidden, width=self.width)

    def loss(self, outputs: Any, batch: Batch) -> tuple[Array, Metrics]:
        _, prediction = outputs
        other = batch.targets[:, ::-1]
        distance = losses.cosine_distance(
            prediction.reshape(-1, prediction.shape[-1]), other.reshape(-1, other.shape[-1])
        )
        directions = other / (jnp.linalg.norm(other, axis=-1, keepdims=True) + 1e-6)
        # 1 for targets that spread evenly over all directions, 0 for collapsed ones.
        spread = jnp.sqrt(jnp.sum(jnp.var(directions, axis=(0, 1))))
        return distance.mean(), {"target_spread": spread}
