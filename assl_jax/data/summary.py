"""What was read, and what looks odd about it: said before training."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from assl_jax.data.dataset import BLOCK_BYTES, DIGEST, Dataset, image_digest
from assl_jax.records import DataSummary, Split

LOOKED_AT = 2**31  # bytes of the images that the summary looks at
SAMPLED = 256  # values of an image's channel that are looked at first
FLAT = 0.02  # an image is nearly constant if its values span less than this share of the range
FEW_VALUES = 16
UNBALANCED = 10  # times as many images in the largest class as in the smallest one
NAMED = 3  # examples in a sentence


def summarise(dataset: Dataset) -> DataSummary:
    """Count the images of every split and look for what is probably a mistake.

    Images are looked at up to `LOOKED_AT` bytes: labelled and test images first. Copies are found
    among all images if their digests are known.
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
        format=msgspec.json.decode(msgspec.json.encode(dict(dataset.format))),  # as it is read back
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
    looked_at = order[: max(1, LOOKED_AT // _bytes_each(dataset))]
    # A sample can only have fewer values than its image, and equal images have equal samples. So a
    # whole image is looked at only where its sample leaves a finding open.
    samples = _samples(dataset, looked_at)
    narrow = FLAT * (dataset.intensity.high - dataset.intensity.low)
    narrow_samples = (dataset.images[row] for row in looked_at[samples.spans < narrow])
    flat = sum(int(image.max()) - int(image.min()) < narrow for image in narrow_samples)
    values = samples.values
    for row in looked_at:
        if len(values) <= FEW_VALUES:
            values |= _values(dataset, dataset.images[row])
    if flat:
        yield (
            f"{_several(flat, 'image is', 'images are')} nearly constant; look for blank files, or "
            "for a window that is too wide"
        )
    if len(values) <= FEW_VALUES:
        yield (
            f"the images have only {len(values)} different values between "
            f"{dataset.intensity.low:g} and {dataset.intensity.high:g}; check the window and the "
            "files"
        )
    compared = looked_at if dataset.digests is None else order
    yield from _repeated(dataset, compared, _equal(dataset, compared, samples.digests))


class _Samples(NamedTuple):
    """What the sampled values of some images tell."""

    spans: np.ndarray  # `[n]` the largest minus the smallest value of each image
    digests: list[bytes]  # of each image's values; empty if the whole images' are known
    values: set[int]  # of all images, or of the first ones if there are many


def _samples(dataset: Dataset, rows: np.ndarray) -> _Samples:
    """Look at values on a coarse grid, about `SAMPLED` per channel, of the images `rows`."""
    step = int(max(1, math.prod(dataset.space) / SAMPLED) ** (1 / len(dataset.space)))
    steps = [min(step, n) for n in dataset.space]
    grid: Any = [slice(k // 2, None, k) for k in steps]
    spans, digests, values = [np.empty(0, int)], list[bytes](), set[int]()
    block = max(1, BLOCK_BYTES // _bytes_each(dataset))
    for start in range(0, len(rows), block):
        images = dataset.images[(rows[start : start + block], *grid)]
        flat = np.ascontiguousarray(images.reshape(len(images), -1))
        spans.append(flat.max(1).astype(int) - flat.min(1))
        if dataset.digests is None:
            digests += map(image_digest, flat)
        if len(values) <= FEW_VALUES:
            values |= _values(dataset, flat)
    return _Samples(np.concatenate(spans), digests, values)


def _bytes_each(dataset: Dataset) -> int:
    return math.prod(dataset.images.shape[1:]) * dataset.images.dtype.itemsize


def _values(dataset: Dataset, images: np.ndarray) -> set[int]:
    return set(np.unique(np.clip(images, dataset.intensity.low, dataset.intensity.high)).tolist())


def _equal(dataset: Dataset, rows: np.ndarray, samples: Sequence[bytes]) -> np.ndarray:
    """`[n]` numbers from 0 on, equal for rows of equal images; `samples` are digests of samples."""
    if dataset.digests is not None:
        found = np.ascontiguousarray(dataset.digests[rows])
    else:
        counts = Counter(samples)
        whole = [
            image_digest(dataset.images[row]) if counts[sample] > 1 else sample
            for row, sample in zip(rows, samples, strict=True)
        ]
        found = np.frombuffer(b"".join(whole), np.uint8).reshape(len(rows), DIGEST)
    return np.unique(found.view(f"S{DIGEST}")[:, 0], return_inverse=True)[1]


def _repeated(dataset: Dataset, rows: np.ndarray, image: np.ndarray) -> Iterator[str]:
    """What is odd about images that occur at several `rows`; `image` numbers them."""
    counts = np.bincount(image)
    test = np.isin(rows, dataset.test)
    trained = np.bincount(image[~test], minlength=len(counts)) > 0
    if across := int(trained[image[test]].sum()):
        yield (
            f"{_several(across, 'test image is', 'test images are')} identical to images that are "
            "trained on; remove them from one side, or the test accuracy is too high"
        )
    labels = dataset.labels[rows]
    known = np.unique(np.stack([image, labels])[:, labels >= 0], axis=1)  # each pair once
    contradictory = np.flatnonzero(np.bincount(known[0], minlength=1) > 1)
    if contradictory.size:
        classes = known[1, known[0] == contradictory[0]]
        names = " and ".join(sorted(dataset.class_names[k] for k in classes)[:NAMED])
        occur = _several(contradictory.size, "image occurs", "images occur")
        yield f"{occur} with different labels, such as {names}"
    if copies := int((counts - 1).sum()):
        yield _several(copies, "image is a copy of another", "images are copies of others")


def _several(n: int, one: str, many: str) -> str:
    """The number, and the words for one thing or for many."""
    return f"{n} {one if n == 1 else many}"
