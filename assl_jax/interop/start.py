"""The weights that a pretraining starts from, read from a run or from a file."""

import hashlib
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict

from assl_jax.evaluation.export import load_backbone
from assl_jax.interop.tensors import read_tensors
from assl_jax.interop.weights import Variables, fit, to_own


def read_start(path: str | Path, backbone: nn.Module, *, rank: int, channels: int) -> Variables:
    """The weights of a run or of a file, in the shapes of `backbone`; see `weights.fit`.

    Args:
      path: a workdir, a pretraining stage, or a `.safetensors` file with the names of torchvision,
        timm or MONAI, or with our own.
      backbone: the network that they are for.
      rank, channels: of the images.

    Raises:
      InputError: nothing to read there, or weights of another network.
    """
    path = Path(path).expanduser()
    arrays = to_own(load_backbone(path)[1]) if path.is_dir() else read_tensors(path)
    return fit(arrays, backbone, rank=rank, channels=channels, source=f"init.path={path}")


def content_digest(variables: dict[str, Any], length: int = 12) -> str:
    """The first `length` hex digits of a hash of all names and values."""
    content = hashlib.sha256()
    for name, value in sorted(flatten_dict(variables, sep="/").items()):
        array = np.asarray(value)
        content.update(f"{name} {array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:length]
