"""Arrays that a Python program holds, as a data set."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.source import Source
from assl_jax.errors import InputError, require

TYPES = ("uint8", "int16")


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
    unlabeled = np.asarray(unlabeled)
    _check_images("unlabeled", unlabeled, unlabeled)
    require(
        test is None or labelled is not None,
        "test images need labelled ones, on which networks are fine-tuned",
    )
    few, few_classes = _labelled("labelled", labelled, unlabeled)
    tested, tested_classes = _labelled("test", test, unlabeled)
    known = np.concatenate([few_classes, tested_classes]).astype(np.int32)
    names = tuple(class_names) or tuple(map(str, range(int(known.max(initial=-1)) + 1)))
    require(
        known.max(initial=-1) < len(names),
        f"class_names has {len(names)} names, and the classes go up to {known.max(initial=-1)}",
    )
    images = np.concatenate([unlabeled, few, tested])
    seen = len(unlabeled) + len(few)
    low, high = 0, 255
    if images.dtype != np.uint8:
        low = int(images[:seen].min(initial=0))
        high = max(int(images[:seen].max(initial=0)), low + 1)
    return Dataset(
        name="memory",
        images=images,
        labels=np.concatenate([np.full(len(unlabeled), -1, np.int32), known]),
        class_names=names,
        unlabeled=np.arange(seen),
        labelled_sets=(np.arange(len(unlabeled), seen),) if len(few) else (),
        test=np.arange(seen, len(images)),
        intensity=intensity_of(images[:seen], low=float(low), high=float(high)),
    )


def _labelled(
    name: str, part: tuple[Any, Any] | None, unlabeled: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The images of a part and their classes; empty arrays if there is none."""
    if part is None:
        return unlabeled[:0], np.empty(0, np.int32)
    require(
        isinstance(part, tuple | list) and len(part) == 2,
        f"{name} must be a pair: images, and their classes",
    )
    images, classes = map(np.asarray, part)
    _check_images(name, images, unlabeled)
    require(
        classes.shape == (len(images),)
        and np.issubdtype(classes.dtype, np.integer)
        and classes.min(initial=0) >= 0,
        f"{name}: the classes must be {len(images)} whole numbers from 0, one for each image",
    )
    return images, classes


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
