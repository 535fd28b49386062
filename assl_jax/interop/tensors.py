"""Files in the format safetensors: arrays by name and a text; nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.errors import InputError, require

RECORD = "assl_jax"  # key of our record in a file's metadata
SUFFIX = ".safetensors"
# What converts a checkpoint of PyTorch, however deep its tensors lie in dictionaries.
CONVERT = (
    "import torch, flax.traverse_util as t, safetensors.torch as s; "
    "c = t.flatten_dict(torch.load('{}', 'cpu', weights_only=True)); "
    "s.save_file({{'.'.join(map(str, k)): v.contiguous().clone() "
    "for k, v in c.items() if torch.is_tensor(v)}}, '{}')"
)


def package(name: str) -> Any:
    """Import a package of the extra `export`."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        distribution = name.partition(".")[0]
        raise InputError(
            f"{distribution} is not installed; run: pip install {distribution}"
        ) from error


def encode_tensors(arrays: dict[str, np.ndarray], record: dict[str, Any]) -> bytes:
    """The content of a file of arrays, with `record` as JSON in the metadata."""
    save = package("safetensors.numpy").save
    # "format" is what PyTorch's tools ask for.
    return _ordered(save(arrays, metadata={"format": "pt", RECORD: json.dumps(record)}))


def _ordered(content: bytes) -> bytes:
    """The same file with its header in one order: the library's order of the metadata varies."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # arrays begin at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + content[start:]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name."""
    require(path.is_file(), f"{path} {'is not a file' if path.exists() else 'does not exist'}")
    code = CONVERT.format(path, path.with_suffix(SUFFIX))
    require(
        path.suffix == SUFFIX,
        f"{path} is no {SUFFIX} file; other formats can run any code when they are read, so let "
        f'torch read the tensors alone: python -c "{code}"',
    )
    load = package("safetensors.numpy").load_file
    try:
        return load(str(path))
    except Exception as error:  # safetensors publishes no common type
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged or holds an unknown type ({reason})") from error


def read_record(path: Path) -> dict[str, Any]:
    """What `encode_tensors` put beside the arrays; empty for a file of another program."""
    with package("safetensors").safe_open(str(path), framework="numpy") as file:
        text = (file.metadata() or {}).get(RECORD, "{}")
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
