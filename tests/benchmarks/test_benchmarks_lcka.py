"""The LCKA benchmark: its tables, and the mini-batch form that it compares with."""

import numpy as np

from assl_jax.lcka import lcka_matrix
from benchmarks.lcka import features, minibatch_cka, minibatch_hsic


def of_batches(x, batch):
    """Mini-batch CKA of `x` `[n, k, d]`."""
    off_diagonal = 1 - np.eye(batch)
    batches = np.split(x.astype(np.float64).swapaxes(0, 1), len(x) // batch, axis=1)
    return minibatch_cka(sum(minibatch_hsic(x, off_diagonal) for x in batches))


def test_one_batch_of_all_samples_is_the_unbiased_estimate():
    x = features(64, 12, 3)
    want = lcka_matrix([x[:, i] for i in range(3)], estimator="unbiased")
    np.testing.assert_allclose(of_batches(x, 64), want, atol=1e-5)


def test_mini_batches_estimate_the_same():
    # Tasks share half of the variance: cov = 1, var = 2, so CKA is 1 / 4.
    got = of_batches(features(4096, 16, 2), 256)
    np.testing.assert_allclose(got, [[1, 0.25], [0.25, 1]], atol=0.02)
