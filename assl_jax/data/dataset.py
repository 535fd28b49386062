"""What every data source becomes."""

import dataclasses
import hashlib

import numpy as np

from assl_jax.errors import require
from assl_jax.ops.intensity import Intensity


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

    @property
    def space(self) -> tuple[int, ...]:
        """Spatial shape of one image."""
        return self.images.shape[1:-1]

    @property
    def channels(self) -> int:
        return self.images.shape[-1]

    def fingerprint(self) -> str:
        """Hash of splits, labels and images (of large sets, every k-th image): its identity."""
        sha = hashlib.sha256(repr((self.images.shape, str(self.images.dtype))).encode())
        sha.update(repr((self.class_names, self.intensity)).encode())
        for rows in (self.labels, self.unlabeled, self.test, *self.labelled_sets):
            sha.update(np.ascontiguousarray(rows, np.int64).tobytes())
        sha.update(np.ascontiguousarray(self.images[:: 1 + len(self.images) // 4096]).tobytes())
        return sha.hexdigest()[:16]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def intensity_of(images: np.ndarray, *, low: float, high: float) -> Intensity:
    """Mean and standard deviation per channel of `images` `[n, *space, c]` as unit intensities.

    Runs over blocks of images in float64, so a memory-mapped array of any size will do. A channel
    without contrast gets a standard deviation of 1.
    """
    c = images.shape[-1]
    total, squares, count = np.zeros(c), np.zeros(c), 0
    for start in range(0, len(images), 1024):
        x = images[start : start + 1024].reshape(-1, c).astype(np.float64)
        x = (x - low) / (high - low)
        total, squares, count = total + x.sum(0), squares + (x**2).sum(0), count + len(x)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
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
