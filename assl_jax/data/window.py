"""The values of a file that become black and white."""

import numpy as np
from jaxtyping import UInt8

from assl_jax.errors import require


def check_window(window: tuple[float, ...]) -> None:
    """Raise `InputError` unless `data.window` is empty or two ascending numbers."""
    require(
        not window or (len(window) == 2 and -np.inf < window[0] < window[1] < np.inf),
        f"data.window={window} must be (low, high) with low < high, or ()",
    )


def check_fills(window: tuple[float, ...]) -> None:
    """Refuse 8-bit values among images of a window that goes beyond 8 bits."""
    if window and window[1] > 255:
        raise ValueError(
            f"its 8-bit values fill only a part of data.window={window}; save all images with one "
            "range"
        )


def to_bytes(values: np.ndarray, window: tuple[float, ...]) -> UInt8[np.ndarray, "*shape"]:
    """Map `window` to 0 to 255, clipped and rounded; NaN is refused."""
    low, high = window
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError("it has values that are NaN")
    scaled = (np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low))
    return np.rint(scaled).astype(np.uint8)
