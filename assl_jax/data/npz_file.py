"""The arrays of a NumPy archive; nothing is unpickled, and no more is read than the file holds."""

import math
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assl_jax.data.memory import afford, check_claim
from assl_jax.errors import InputError, require

HEADERS = {  # of arrays without fields, by version
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
SURROGATES = 0xD800 >> 11  # 2,048 numbers that are no signs


class Arrays(NamedTuple):
    """What an archive holds."""

    names: list[str]  # of all its arrays, sorted
    values: dict[str, np.ndarray]  # those asked for that are there
    checksums: dict[str, str]  # of each of them, as the archive stores it


def read_arrays(file: Path, keys: Sequence[str]) -> Arrays:
    """Read those of the arrays `keys` that an archive has."""
    # NumPy would report every other file as a pickle.
    require(
        zipfile.is_zipfile(file),
        f"{file} is not an npz file, or damaged, or unreadable; download it again, or write it "
        "with numpy.savez",
    )
    try:
        with zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as: a file of Python 2
            entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}
            used = [key for key in keys if key in entries]
            # Once more for what they are converted to.
            need = 2.0 * sum(entries[key].file_size for key in used)
            afford(need, str(file), "split it, or save fewer or smaller images")
            return Arrays(
                sorted(entries),
                {key: _array(archive, entries[key]) for key in used},
                {key: f"{key} {entries[key].CRC:08x}" for key in used},
            )
    except InputError:
        raise
    except Exception as e:  # NumPy and zipfile raise nearly anything
        if "Object arrays" in str(e):
            raise InputError(
                f"{file} holds Python objects, which are never unpickled; save arrays of integers"
            ) from e
        reason = " ".join(str(e).split()) or type(e).__name__
        raise InputError(f"{file} is damaged or unreadable ({reason}); download it again") from e


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array of an archive; its size is compared with the file's before it is read."""
    size = Path(str(archive.filename)).stat().st_size
    check_claim(entry.file_size, size, packed=entry.compress_type != zipfile.ZIP_STORED)
    with archive.open(entry) as content:
        try:
            shape, _, dtype = HEADERS[np.lib.format.read_magic(content)](content)
        except Exception as e:
            raise ValueError(f"{entry.filename} is no array: {e or type(e).__name__}") from e
        if not dtype.hasobject:  # NumPy refuses it
            check_claim(math.prod(shape) * dtype.itemsize, entry.file_size, packed=False)
    with archive.open(entry) as content:
        array = np.lib.format.read_array(content, allow_pickle=False)
    if dtype.kind == "U" and array.size and dtype.itemsize:
        points = array.ravel().view(f"{dtype.byteorder}u4")
        if ((points > sys.maxunicode) | ((points >> 11) == SURROGATES)).any():
            raise ValueError(f"{entry.filename} has a text that is not Unicode")
    return array
