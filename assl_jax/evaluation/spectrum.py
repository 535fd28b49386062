"""The number of directions in which features vary."""

import numpy as np
from jaxtyping import Float


def effective_rank(x: Float[np.ndarray, "n d"]) -> float:
    """Exponential of the entropy of the covariance's eigenvalues, as shares of their sum.

    Source: Roy & Vetterli 2007. Features that collapse to few directions have a low effective rank.
    The offset, scale and rotation of the features do not change it.

    Args:
      x: features of n images.

    Returns:
      From 1 (one direction) to `min(n - 1, d)` (equal variance in all directions); 0 if all rows
      are equal.

    Deviations: the features are centred first. The source uses the singular values. This function
    uses their squares, the eigenvalues, whose shares are shares of variance, so weak directions
    count less.
    """
    # After subtracting the first row, equal rows are exactly 0.
    x = x.astype(np.float64) - x[:1].astype(np.float64)
    x = x - x.mean(0, keepdims=True)
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T  # the same nonzero eigenvalues
    values = np.linalg.eigvalsh(gram).clip(0.0)
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
