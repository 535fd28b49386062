"""`Dataset`, which every data source returns."""

import dataclasses
import functools
import hashlib
import math
from typing import Any

import numpy as np

from assl_jax.errors import require
from assl_jax.ops.intensity import Intensity

HASHED_BYTES = 2**28  # of the images; a fingerprint of more looks at every k-th image
BLOCK_BYTES = 2**24  # of images per step of the statistics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Integer images in one array, with labels, and splits as indices into it.

    Attributes:
      name: the source's name.
      images: `[n, *space, c]` integers (uint8 or int16), in memory or memory-mapped.
      labels: `[n]` int32 class indices; -1 marks an image without a label.
      class_names: one name per class.
      unlabeled: indices of the images that proxy tasks may see.
      labelled_sets: one or more index arrays. Each is a set of labelled training images (a fold of
        STL-10, a seeded subset), and fine-tuning runs on each separately.
      test: indices of the labelled test images; disjoint from the other two.
      intensity: how the integers map to network inputs; statistics of the unlabeled images.
      patients: `[n]` integers, the patient of each image; None if patients are unknown. No patient
        is on both sides of a split, and confidence intervals are over patients.
      origins: for each image, what it was made from (its file's size and time, a checksum). Part
        of the fingerprints, which look at only some images of a large set. None: nothing is known.
      skipped: files that were left out (`on_error="skip"`), each with its reason.

    Raises:
      InputError: an image without a label in a labelled split, or an image or a patient on both
        sides of a split.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    unlabeled: np.ndarray
    labelled_sets: tuple[np.ndarray, ...]
    test: np.ndarray
    intensity: Intensity
    patients: np.ndarray | None = None
    origins: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        k = len(self.class_names)
        supervised = np.concatenate([*self.labelled_sets, self.test])
        labels = self.labels[supervised]
        require(
            bool(((labels >= 0) & (labels < k)).all()),
            f"data {self.name!r}: an image without a label (-1) is in a labelled split; "
            "label it or move it to the unlabeled images",
        )
        seen = np.concatenate([self.unlabeled, *self.labelled_sets])
        shared = np.intersect1d(seen, self.test)
        require(
            shared.size == 0,
            f"data {self.name!r}: {shared.size} test images are also used for training",
        )
        both = np.intersect1d(self.groups[seen], self.groups[self.test])
        require(
            both.size == 0,
            f"data {self.name!r}: {both.size} patients are both in the test and in the training "
            "images; put all images of a patient on one side",
        )

    @property
    def groups(self) -> np.ndarray:
        """`[n]` the patient of each image; an image without a known patient is its own group."""
        return np.arange(len(self.labels)) if self.patients is None else self.patients

    @property
    def test_patients(self) -> int | None:
        """The number of patients among the test images; None if patients are unknown."""
        return None if self.patients is None else len(np.unique(self.patients[self.test]))

    @property
    def space(self) -> tuple[int, ...]:
        """Spatial shape of one image."""
        return self.images.shape[1:-1]

    @property
    def channels(self) -> int:
        return self.images.shape[-1]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def unlabeled_fingerprint(self) -> str:
        """16 hex digits that change with anything that a pretraining depends on.

        A hash of the unlabeled images in their order (of a large set, every k-th image) with their
        origins, shape, type and intensity. Labels, splits and other images do not count.
        """
        return self._unlabeled_fingerprint

    def fingerprint(self, *, test: bool = True) -> str:
        """16 hex digits that change with anything in the data set.

        A hash of `unlabeled_fingerprint`, class names, labels, groups, splits, and the other images
        (of a large set, every k-th image) with their origins.

        Args:
          test: False leaves out the test images. What remains identifies a cross-validation inside
            the labelled sets.
        """
        return self._fingerprint if test else self._training_fingerprint

    @functools.cached_property
    def _unlabeled_fingerprint(self) -> str:
        dtype, shape = str(self.images.dtype), self.images.shape[1:]
        return self._hash(self.unlabeled, len(self.unlabeled), shape, dtype, self.intensity)

    @functools.cached_property
    def _training_fingerprint(self) -> str:
        labelled = np.unique(np.concatenate(self.labelled_sets))
        others = np.setdiff1d(labelled, self.unlabeled)
        # Images and patients are numbered without the test images, so that these do not count.
        training = np.concatenate([self.unlabeled, others])
        place = np.zeros(len(self.images), np.int64)
        place[training] = np.arange(len(training))
        groups = np.unique(self.groups[labelled], return_inverse=True)[1]
        known = [place[labelled], self.labels[labelled], groups]
        sets = [place[rows] for rows in self.labelled_sets]
        head = self._unlabeled_fingerprint, self.class_names, len(training)
        return self._hash(others, *head, *known, *sets, size=len(training))

    @functools.cached_property
    def _fingerprint(self) -> str:
        everything = np.arange(len(self.images))
        others = np.setdiff1d(everything, np.concatenate([self.unlabeled, *self.labelled_sets]))
        splits = self.unlabeled, self.test, *self.labelled_sets
        rows = self.labels, self.groups, *splits
        return self._hash(others, self._training_fingerprint, *rows, size=len(everything))

    def _hash(self, rows: np.ndarray, *values: Any, size: int | None = None) -> str:
        """Hash `values`, the origins of `rows`, and every k-th image of `rows`.

        k is chosen such that `HASHED_BYTES` would be hashed of `size` images (default: of `rows`).
        """
        sha = hashlib.sha256()
        for value in values:
            if isinstance(value, np.ndarray):
                sha.update(f"{len(value)} integers:".encode())
                sha.update(np.ascontiguousarray(value, np.int64).tobytes())
            else:
                sha.update(f"{value!r}\n".encode(errors="surrogateescape"))
        if self.origins is not None:
            for row in rows:
                sha.update(f"{self.origins[row]}\n".encode(errors="surrogateescape"))
        size = len(rows) if size is None else size
        step = 1 + self.images.nbytes * size // max(1, len(self.images)) // HASHED_BYTES
        for row in rows[::step]:
            sha.update(np.ascontiguousarray(self.images[row]).tobytes())
        return sha.hexdigest()[:16]


def intensity_of(images: np.ndarray, *, low: float, high: float) -> Intensity:
    """The mapping of `low` to `high` onto 0 to 1, with each channel's mean and deviation there.

    The sums are of integers, so they are exact. Images are read in blocks; the array may be
    memory-mapped.

    Args:
      images: `[n, *space, c]` integers; values outside `low` to `high` count as `low` or `high`.
      low, high: whole numbers.

    Returns:
      Mean and standard deviation, rounded to 6 digits; a channel without contrast has 1.
    """
    c = images.shape[-1]
    total, squares = np.zeros(c, np.int64), np.zeros(c, np.int64)
    step = max(1, BLOCK_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        x = np.clip(images[start : start + step].reshape(-1, c), int(low), int(high))
        total += x.sum(0, dtype=np.int64)
        squares += np.square(x, dtype=np.int64).sum(0)
    count = math.prod(images.shape[:-1])
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0)) / (high - low)
    mean = (mean - low) / (high - low)
    std = np.where(std < 1e-6, 1.0, std)
    # Rounded, since they are part of every stage's identity and are printed in reports.
    return Intensity(
        low=low,
        high=high,
        mean=tuple(round(float(m), 6) for m in mean),
        std=tuple(round(float(s), 6) for s in std),
    )
