"""Distillation: the values of its losses, and that it learns what the teachers know."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.heads import unflatten_views
from assl_jax.objectives.base import Batch, Weights
from assl_jax.objectives.distilled import Distilled, Teacher
from assl_jax.tasks import make_task
from assl_jax.tasks.byol import BYOL

ROTATION = make_task("rotation", all_rotations=False)


def test_value_by_hand():
    """Two teachers of 2 and 1 features, one image, one view; a uniform guess of the rotation."""
    objective = Distilled(part=ROTATION, widths=(2, 1), weight=3.0, own=0.5)
    teachers = [jnp.array([[[1.0, 2.0]]]), jnp.array([[[-1.0]]])]
    labels = jnp.zeros((1, 1), jnp.int32)
    batch = Batch(jnp.zeros((1, 1, 4, 4, 1)), labels, {"teachers": teachers})
    outputs = jnp.zeros((1, 1, 4)), [jnp.array([[[2.0, 5.0]]]), jnp.array([[[1.0]]])]
    loss, _, metrics = objective.value({}, outputs, batch, ())
    distilled = ((1 + 9) / 2 + 4) / 2
    np.testing.assert_allclose(metrics["task_loss"], np.log(4), rtol=1e-6)
    np.testing.assert_allclose(metrics["distillation_loss"], distilled, rtol=1e-6)
    np.testing.assert_allclose(loss, 0.5 * np.log(4) + 3 * distilled, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("space", [(12, 12), (8, 8, 8)])
def test_the_targets_are_the_teachers_standardised_features(space):
    class Means:
        """A backbone whose features are the mean and twice the mean of an image, plus a weight."""

        def apply(self, variables, x, train):
            assert not train
            mean = x.mean(tuple(range(1, x.ndim)))
            return {"pooled": jnp.stack([mean, 2 * mean], 1) + variables}

    images = np.random.default_rng(0).integers(0, 256, (3, *space, 1), dtype=np.uint8)
    objective = Distilled(part=ROTATION, widths=(2, 2))
    batch = objective.make_batch(jax.random.key(0), jnp.asarray(images))
    teachers = [Teacher(w, jnp.array([0.1, 0.2]), jnp.array([0.5, 4.0])) for w in (0.0, 1.0)]
    prepared = objective.prepare(batch, Means(), (), {"teachers": teachers})
    np.testing.assert_array_equal(prepared.targets, batch.targets)
    mean = np.asarray(batch.inputs).mean(tuple(range(2, batch.inputs.ndim)))
    for w, features in enumerate(prepared.frozen["teachers"]):
        assert features.shape == (3, 1, 2)
        np.testing.assert_allclose(features[..., 0], (mean + w - 0.1) / 0.5, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(features[..., 1], (2 * mean + w - 0.2) / 4, rtol=1e-5, atol=1e-5)


def test_the_head_of_the_part_stays(toy, drawn):
    """Beside it, a projector for each teacher."""
    objective = Distilled(part=toy.brightness, widths=(5, 3))
    batch = toy.brightness.make_batch(jax.random.key(0), toy.images[:4])
    maps = toy.backbone.apply(toy.state().variables, batch.inputs[:, 0])
    maps = jax.tree.map(lambda f: unflatten_views(f, 4), maps)
    params = drawn(objective.head().init, maps, batch)["params"]
    assert set(params) == {"own", "projector0", "projector1"}
    own, projections = objective.head().apply({"params": params}, maps, batch)
    alone = toy.brightness.head().apply({"params": params["own"]}, maps, batch)
    np.testing.assert_array_equal(own, alone)
    assert [p.shape for p in projections] == [(4, 1, 5), (4, 1, 3)]


def test_without_the_loss_of_the_part_it_gives_the_inputs_alone(toy):
    """BYOL's loss needs a slow copy; without its loss there is none."""
    whole, alone = (Distilled(part=BYOL(), widths=(3,), own=own) for own in (1.0, 0.0))
    assert (whole.passes, alone.passes) == (2, 1) and alone.init(
        Weights((), {"own": ()}), None
    ) == ()
    batch = Batch(jnp.zeros((2, 2, 4, 4, 1)), (), {"teachers": [jnp.ones((2, 2, 3))]})
    outputs = ((None, jnp.zeros((2, 2, 8))), [jnp.zeros((2, 2, 3))])
    loss, _, metrics = alone.value({}, outputs, batch, ())
    assert loss == 1.0 and set(metrics) == {"distillation_loss"}
