"""How many directions features vary in."""

import numpy as np
from jaxtyping import Float


def effective_rank(x: Float[np.ndarray, "n d"]) -> float:
    """Exponential of the entropy of the covariance's eigenvalues, as shares of their sum.

    Source: Roy & Vetterli 2007. Features that collapse to few directions have a low rank. It does
    not change with the features' offset, scale or rotation.

    Args:
      x: features of n images.

    Returns:
      From 1 (one direction) to `min(n - 1, d)` (all directions alike); 0 where all rows are equal:
      there is no direction.

    Deviations: the source takes the singular values, here of the centred features; their squares,
    which are the eigenvalues taken here, are the shares of variance. Weak directions count less.
    """
    # Seen from the first row, equal rows are exactly 0.
    x = x.astype(np.float64) - x[:1].astype(np.float64)
    x = x - x.mean(0, keepdims=True)
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T  # the same eigenvalues, but for zeros
    values = np.linalg.eigvalsh(gram).clip(0.0)
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
