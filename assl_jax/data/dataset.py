"""`Dataset`, which every data source returns."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from assl_jax.errors import require
from assl_jax.files import hash_of
from assl_jax.ops.intensity import Intensity

HASHED_BYTES = 2**28  # of the images; a fingerprint of more looks at every k-th image
BLOCK_BYTES = 2**24  # of images per step of the statistics
DIGEST = hash_of().digest_size  # bytes of an image's hash


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
      origins: `[n]`, for each image a digest of what it was made from (its file's size and time).
        Part of the fingerprints, which look at only some images of a large set. None: nothing is
        known.
      keys: for each image a name that stays: its path below the source's folder, or `train/17`
        where a source has arrays; () gives each image the name of its split and its number.
      digests: `[n, DIGEST]` uint8, the `image_digest` of each image, from which fingerprints are
        made without a look at the images. None: fingerprints hash the images.
      skipped: files that were left out (`on_error="skip"`), each with its reason.
      format: the settings by which files became images, see `data.file_reader.FileReader`.
      notes: what else the user should know about how the data were read: one sentence each.

    A data set without any label has no classes, no labelled sets and no test images.

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
    origins: np.ndarray | None = None
    digests: np.ndarray | None = None
    keys: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    format: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys:
            object.__setattr__(self, "keys", self._numbered())
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

    def _numbered(self) -> tuple[str, ...]:
        """The keys of images without files."""
        split = np.full(len(self.images), "train")
        split[self.unlabeled] = "unlabeled"
        split[self.test] = "test"
        return tuple(f"{name}/{row}" for row, name in enumerate(split.tolist()))

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

    def fingerprint(self, *subsets: np.ndarray, labelled: bool = False) -> str:
        """The identity of some of the images, for what is computed from nothing else.

        A hash of the images in their order (of many images without digests, every k-th one), of
        their origins, and of shape, type and intensity. Other images, and the positions in
        `images`, do not count.

        Args:
          subsets: index arrays, such as `unlabeled` or `(*labelled_sets, test)`.
          labelled: also hash labels, class names, and which images share a patient.

        Returns:
          16 hex digits.
        """
        rows = np.concatenate([*subsets, np.empty(0, np.int64)])
        sizes = [len(subset) for subset in subsets]
        sha = hashlib.sha256(
            repr((sizes, self.images.shape[1:], str(self.images.dtype), self.intensity)).encode()
        )
        if labelled:
            # Numbered by their first images: a patient's own number does not count.
            _, first, inverse = np.unique(self.groups[rows], return_index=True, return_inverse=True)
            sha.update(repr(self.class_names).encode(errors="surrogateescape"))
            for numbers in (self.labels[rows], first[inverse]):
                sha.update(np.ascontiguousarray(numbers, np.int64).tobytes())
        if self.origins is not None:
            sha.update(np.ascontiguousarray(self.origins[rows]).tobytes())
        if self.digests is not None:
            sha.update(np.ascontiguousarray(self.digests[rows]).tobytes())
            return sha.hexdigest()[:16]
        size = math.prod(self.images.shape[1:]) * self.images.dtype.itemsize * len(rows)
        for row in rows[:: 1 + size // HASHED_BYTES]:
            sha.update(np.ascontiguousarray(self.images[row]).tobytes())
        return sha.hexdigest()[:16]


def image_digest(image: np.ndarray) -> bytes:
    """A hash of an image's values in their order, `DIGEST` bytes."""
    return hash_of(np.ascontiguousarray(image).data).digest()


def intensity_of(images: np.ndarray, *, low: float, high: float) -> Intensity:
    """The mapping of `low` to `high` onto 0 to 1, with each channel's mean and deviation there.

    Images are read in blocks; the array may be memory-mapped.

    Args:
      images: `[n, *space, c]` integers; values outside `low` to `high` count as `low` or `high`.
      low, high: whole numbers.

    Returns:
      Mean and standard deviation, rounded to 6 digits; a channel without contrast has 1.
    """
    step = max(1, BLOCK_BYTES // max(1, images[:1].nbytes))
    blocks = [
        value_sums(images[start : start + step], low=low, high=high).sum(0)
        for start in range(0, len(images), step)
    ]
    return intensity_from(sum(blocks), math.prod(images.shape[:-1]), low=low, high=high)


def value_sums(images: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """`[n, 2, c]` sums of each image's values and of their squares, exact; see `intensity_of`."""
    x = np.clip(images.reshape(len(images), -1, images.shape[-1]), int(low), int(high))
    sums = x.sum(1, dtype=np.int64), np.square(x, dtype=np.int64).sum(1)
    return np.stack(sums, axis=1)


def intensity_from(sums: Any, count: int, *, low: float, high: float) -> Intensity:
    """`intensity_of` from the `[2, c]` sums of all `count` values of a channel."""
    total, squares = sums
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
