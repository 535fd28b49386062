"""Arrays that a Python program holds, as a data set."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.source import Source
from assl_jax.errors import InputError, require

TYPES = ("uint8", "int16")


class Labelled(NamedTuple):
    """Images `[n, *space, c]` and their classes `[n]`, 0 to k - 1."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class InMemory(Source):
    """What the config of a run on arrays says of its data.

    Attributes:
      arrays: the identity of the arrays.
    """

    arrays: str = ""

    def load(self) -> Dataset:
        raise InputError(
            "data.name=memory: the images were arrays of a Python program; run that program again"
        )


def in_memory(
    unlabeled: np.ndarray,
    labelled: tuple[np.ndarray, np.ndarray] | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    class_names: Sequence[str] = (),
) -> Dataset:
    """A data set of arrays.

    Args:
      unlabeled: `[n, *space, c]`, uint8 or int16, which proxy tasks see beside the labelled images.
      labelled, test: images of the same shape and type, each with classes `[n]` from 0 to k - 1.
      class_names: one for each class; by default their numbers.

    Returns:
      The data set. Without labelled images nothing can be tested.

    Raises:
      InputError: arrays that do not fit together, or values that are no classes.
    """
    none = np.empty((0, *unlabeled.shape[1:]), unlabeled.dtype), np.empty(0, np.int32)
    parts = {"labelled": Labelled(*(labelled or none)), "test": Labelled(*(test or none))}
    _check_images("unlabeled", unlabeled, unlabeled)
    for name, part in parts.items():
        _check_images(name, part.images, unlabeled)
        classes = np.asarray(part.labels)
        require(
            classes.shape == (len(part.images),) and np.issubdtype(classes.dtype, np.integer),
            f"{name}: the classes must be {len(part.images)} whole numbers, one for each image",
        )
    known = np.concatenate([part.labels for part in parts.values()]).astype(np.int32)
    names = tuple(class_names) or tuple(map(str, range(int(known.max(initial=-1)) + 1)))
    images = np.concatenate([unlabeled, *(part.images for part in parts.values())])
    seen = len(unlabeled) + len(parts["labelled"].images)
    limits = np.iinfo(images.dtype) if images.dtype == np.uint8 else _range(images[:seen])
    return Dataset(
        name="memory",
        images=images,
        labels=np.concatenate([np.full(len(unlabeled), -1, np.int32), known]),
        class_names=names,
        unlabeled=np.arange(seen),
        labelled_sets=(np.arange(len(unlabeled), seen),) if labelled else (),
        test=np.arange(seen, len(images)),
        intensity=intensity_of(images[:seen], low=float(limits.min), high=float(limits.max)),
    )


class _Limits(NamedTuple):
    min: int
    max: int


def _range(images: np.ndarray) -> _Limits:
    low, high = int(images.min(initial=0)), int(images.max(initial=0))
    return _Limits(low, max(high, low + 1))


def _check_images(name: str, images: np.ndarray, like: np.ndarray) -> None:
    require(
        images.ndim in (4, 5) and str(images.dtype) in TYPES,
        f"{name}: images must be {' or '.join(TYPES)} of the shape [n, *space, c], with two "
        f"or three spatial axes, not {images.dtype} {list(images.shape)}",
    )
    require(
        images.shape[1:] == like.shape[1:] and images.dtype == like.dtype,
        f"{name}: images are {images.dtype} {list(images.shape[1:])}, the unlabeled ones "
        f"{like.dtype} {list(like.shape[1:])}; bring them to one shape and type",
    )
