"""One device and eight train the same network."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.objectives.alternating import Alternating
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import make_task
from assl_jax.training.loop import schedule
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh, replicate, split_batch

INTENSITY = Intensity(mean=(0.4,), std=(0.2,))


def test_mesh_and_placement():
    whole, one = make_mesh(), make_mesh(jax.devices()[:1])
    assert whole.size == 8 and one.size == 1 and whole.axis_names == ("data",)
    held = jax.device_put(np.arange(4.0), jax.devices()[0])
    for mesh in (whole, one):
        copy = replicate({"a": held}, mesh)["a"]
        assert copy.is_fully_replicated and len(copy.devices()) == mesh.size
        copy.delete()
        np.testing.assert_array_equal(held, np.arange(4.0))  # never an alias
    split = split_batch(np.arange(16, dtype=np.int32), whole)
    assert [s.data.tolist() for s in split.addressable_shards][3] == [6, 7]


def test_a_batch_that_does_not_divide(toy):
    with pytest.raises(InputError, match="batch_size=8 .* 3 devices"):
        toy.fit(devices=3)


@pytest.mark.slow
def test_one_device_equals_eight(toy):
    """A pool of tasks; SimCLR and MCPC take their negatives from the whole batch."""
    images = np.random.default_rng(1).integers(0, 256, (40, 12, 12, 1), dtype=np.uint8)
    settings = {"simclr": {"width": 8, "blur": 0.0}, "mcpc": {}, "rotation": {}}
    pool = Alternating(tuple(make_task(n, **s, intensity=INTENSITY) for n, s in settings.items()))
    assert np.bincount(schedule(3, 20, 0)).min() >= 4
    optimiser = Optimiser(learning_rate=1e-3, schedule="constant")
    own = {"images": images, "optimiser": optimiser}
    begin = toy.state(pool, **own)
    one, eight = (toy.fit(pool, **own, devices=devices, steps=20) for devices in (1, 8))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5),
        (one.params, one.batch_stats),
        (eight.params, eight.batch_stats),
    )
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one.params, begin.params)
    assert min(jax.tree.leaves(moved)) > 1e-3
