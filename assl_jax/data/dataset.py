"""What every data source becomes."""

import dataclasses
import hashlib
import math

import numpy as np

from assl_jax.errors import require
from assl_jax.ops.intensity import Intensity

HASHED_BYTES = 2**28  # of all images; more than that, and a part of them stands for the set
BLOCK_BYTES = 2**24  # of images looked at together


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Integer images in one array, with labels and splits as indices into it.

    Attributes:
      name: the source's name.
      images: `[n, *space, c]` integers (uint8 or int16), in memory or memory-mapped.
      labels: `[n]` int32 class indices; -1 marks an image without a label.
      class_names: one name per class.
      unlabeled: indices of the images that proxy tasks may see.
      labelled_sets: one or more index arrays, each one set of labelled training images (STL-10's
        folds, a seeded subset). Every set is fine-tuned on separately.
      test: indices of the labelled test images; disjoint from the other two.
      intensity: how the integers map to network inputs; statistics of the unlabeled images.
      patients: `[n]` integers, whom each image is of; None means that each is of somebody else. No
        patient is on both sides of a split, and confidence intervals are over patients.
      origin: what the images were made from (settings, files' sizes and times), where that tells
        more than a look at some of the images; part of `fingerprint`.
      skipped: files left out on request (`on_error="skip"`), each with its reason.
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
    origin: str = ""
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
        """`[n]` the patient of each image."""
        return np.arange(len(self.labels)) if self.patients is None else self.patients

    @property
    def test_patients(self) -> int | None:
        """How many patients the test images are of, where that is known."""
        return None if self.patients is None else len(np.unique(self.patients[self.test]))

    @property
    def space(self) -> tuple[int, ...]:
        """Spatial shape of one image."""
        return self.images.shape[1:-1]

    @property
    def channels(self) -> int:
        return self.images.shape[-1]

    def fingerprint(self) -> str:
        """Hash of splits, labels, origin and images (of large sets, every k-th): its identity."""
        sha = hashlib.sha256(repr((self.images.shape, str(self.images.dtype))).encode())
        sha.update(repr((self.class_names, self.intensity, self.origin)).encode())
        for rows in (self.labels, self.groups, self.unlabeled, self.test, *self.labelled_sets):
            sha.update(np.ascontiguousarray(rows, np.int64).tobytes())
        for image in self.images[:: 1 + self.images.nbytes // HASHED_BYTES]:
            sha.update(np.ascontiguousarray(image).tobytes())
        return sha.hexdigest()[:16]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def intensity_of(images: np.ndarray, *, low: float, high: float) -> Intensity:
    """Mean and standard deviation per channel of `images` `[n, *space, c]` as unit intensities.

    Sums of integers over blocks of images: exact, whatever the size of a memory-mapped array.
    Values outside `low` to `high` count as these. A channel without contrast gets a standard
    deviation of 1.
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
    # Rounded: the statistics are part of every stage's identity and are printed in reports.
    return Intensity(
        low=low,
        high=high,
        mean=tuple(round(float(m), 6) for m in mean),
        std=tuple(round(float(s), 6) for s in std),
    )


def stratified_subset(labels: np.ndarray, total: int, *, seed: int) -> np.ndarray:
    """Positions of `total` entries of `labels` `[n]`, the classes as equally filled as they can be.

    Returns sorted positions. Raises `InputError` when a class cannot fill its share.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    share, extra = divmod(total, len(classes))
    lucky = set(rng.permutation(len(classes))[:extra].tolist())
    chosen = []
    for i, c in enumerate(classes):
        want = share + (i in lucky)
        members = np.flatnonzero(labels == c)
        require(
            len(members) >= want,
            f"labels={total} needs {want} images of class {c}, which has {len(members)}; "
            "ask for fewer labels",
        )
        chosen.append(rng.permutation(members)[:want])
    return np.sort(np.concatenate(chosen))
