"""Linear CKA in double precision from the Gram matrices over samples, as the papers write it."""

import numpy as np


def slow_cka(x, y, estimator):
    k, l = (f @ f.T for f in map(scaled, (x, y)))  # noqa: E741 - the letters of the literature
    return hsic(k, l, estimator) / np.sqrt(hsic(k, k, estimator) * hsic(l, l, estimator))


def hsic(k, l, estimator):  # noqa: E741 - as above
    """HSIC of centred features' Gram matrices; HSIC_1 leaves out the diagonals."""
    if estimator == "biased":
        return np.sum(k * l)
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741 - as above
    return np.sum(k * l) + k.sum() * l.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * np.sum(k @ l)


def scaled(x):
    """The features in double precision, centred, with magnitudes of at most 1."""
    x = np.asarray(x, np.float64)
    x = x - x.mean(0)
    return x / np.abs(x).max()
