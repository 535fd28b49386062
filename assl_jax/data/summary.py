"""What was read, and what looks odd about it: said before training."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from assl_jax.data.dataset import Dataset
from assl_jax.records import DataSummary, Split

LOOKED_AT = 2**31  # bytes of images that are read for the summary
FLAT = 0.02  # an image is nearly constant if its values span less than this share of the range
FEW_VALUES = 16
UNBALANCED = 10  # times as many images in the largest class as in the smallest one
NAMED = 3  # examples in a sentence


def summarise(dataset: Dataset) -> DataSummary:
    """Count the images of every split and look for what is probably a mistake.

    Images are looked at up to `LOOKED_AT` bytes: labelled and test images first.
    """
    labelled = np.unique(np.concatenate([*dataset.labelled_sets, np.empty(0, int)])).astype(int)
    rows = {"unlabeled": dataset.unlabeled, "labelled": labelled, "test": dataset.test}
    splits = {name: _split(dataset, own, classes=name != "unlabeled") for name, own in rows.items()}
    if len(dataset.labelled_sets) > 1:
        one = len(dataset.labelled_sets[0])
        name = f"labelled, in {len(dataset.labelled_sets)} sets of about {one}"
        splits = {name if k == "labelled" else k: split for k, split in splits.items()}
    return DataSummary(
        name=dataset.name,
        shape=dataset.images.shape[1:],
        dtype=str(dataset.images.dtype),
        splits=splits,
        skipped=dataset.skipped,
        notes=dataset.notes,
        odd=tuple(_odd(dataset, rows)),
    )


def _split(dataset: Dataset, rows: np.ndarray, *, classes: bool) -> Split:
    known = dataset.patients is not None
    counts = np.bincount(dataset.labels[rows], minlength=dataset.num_classes) if classes else ()
    return Split(
        images=len(rows),
        patients=len(np.unique(dataset.groups[rows])) if known else None,
        classes=dict(zip(dataset.class_names, map(int, counts), strict=False)),
    )


def _odd(dataset: Dataset, rows: dict[str, np.ndarray]) -> Iterator[str]:
    counts = np.bincount(dataset.labels[rows["labelled"]], minlength=dataset.num_classes)
    if len(counts) and counts.max() > UNBALANCED * counts.min():
        small, large = (dataset.class_names[i] for i in (counts.argmin(), counts.argmax()))
        yield (
            f"the labelled images are unbalanced: {counts.max()} of {large!r}, {counts.min()} of "
            f"{small!r}; consider target.balance=weights or sampling, and look at balanced accuracy"
        )
    order = np.concatenate([rows["labelled"], rows["test"], rows["unlabeled"]])
    order = order[np.sort(np.unique(order, return_index=True)[1])]
    bytes_each = max(1, dataset.images[:1].nbytes)
    looked_at = order[: max(1, LOOKED_AT // bytes_each)]
    low, high = dataset.intensity.low, dataset.intensity.high
    same: dict[bytes, list[int]] = defaultdict(list)
    flat, values = 0, set[int]()
    for row in looked_at:
        image = np.ascontiguousarray(dataset.images[row])
        same[hashlib.blake2b(image.tobytes(), digest_size=16).digest()].append(int(row))
        flat += int(image.max()) - int(image.min()) < FLAT * (high - low)
        if len(values) <= FEW_VALUES:
            values |= set(np.unique(np.clip(image, low, high)).tolist())
    if flat:
        yield f"{flat} images are nearly constant; are they blank, or is the window too wide?"
    if len(values) <= FEW_VALUES:
        yield (
            f"the images have only {len(values)} different values between {low:g} and {high:g}; "
            "check the window and the files"
        )
    yield from _repeated(dataset, rows, [each for each in same.values() if len(each) > 1])


def _repeated(
    dataset: Dataset, rows: dict[str, np.ndarray], same: list[list[int]]
) -> Iterator[str]:
    test, others = set(rows["test"].tolist()), {*rows["unlabeled"], *rows["labelled"]}
    across = sum(any(r in test for r in each) and any(r in others for r in each) for each in same)
    if across:
        yield (
            f"{across} test images are identical to images that are trained on; remove them from "
            "one side, or the test accuracy is too high"
        )
    contradictory = [
        labels
        for each in same
        if len(labels := {int(k) for k in dataset.labels[each] if k >= 0}) > 1
    ]
    if contradictory:
        names = " and ".join(sorted(dataset.class_names[k] for k in contradictory[0])[:NAMED])
        yield f"{len(contradictory)} images occur with different labels, such as {names}"
    copies = sum(len(each) - 1 for each in same)
    if copies:
        yield f"{copies} images are copies of others"
