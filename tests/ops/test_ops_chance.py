"""Changes of a random share of the images; every operation with a probability uses them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.chance import chance, change_some

KEY = jax.random.key(0)


@pytest.mark.parametrize("probability, low, high", [(0, 0, 0), (0.3, 45, 75), (1, 200, 200)])
def test_the_probability_is_the_share_of_changed_images(probability, low, high):
    images = jnp.zeros((200, 2, 3, 2))
    found = np.asarray(change_some(KEY, probability, 1 + images[..., :1], images))
    changed = (found == 1).all((1, 2, 3))
    assert ((found == 0).all((1, 2, 3)) ^ changed).all()  # whole images
    assert low <= changed.sum() <= high
    np.testing.assert_array_equal(changed, chance(KEY, probability, (200,)))
