"""Seeded draws of splits, stratified by class."""

import numpy as np
from jaxtyping import Int, Shaped

from assl_jax.errors import require


def stratified_subset(
    labels: Shaped[np.ndarray, " n"], total: int, *, seed: int
) -> Int[np.ndarray, " total"]:
    """Draw `total` images, as equally many of each class as possible.

    Args:
      labels: each image's class.
      total: how many images.
      seed: draws them, and the classes that get one more if the division leaves a remainder.

    Returns:
      Sorted positions in `labels`.

    Raises:
      InputError: a class with too few images.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    share, extra = divmod(total, len(classes))
    larger = set(rng.permutation(len(classes))[:extra].tolist())
    chosen = []
    for i, c in enumerate(classes):
        want = share + (i in larger)
        members = np.flatnonzero(labels == c)
        require(
            len(members) >= want,
            f"labels={total} needs {want} images of class {c}, which has {len(members)}; "
            "ask for fewer labels",
        )
        chosen.append(rng.permutation(members)[:want])
    return np.sort(np.concatenate(chosen))


def split_by_class(
    labels: Shaped[np.ndarray, " n"], test_fraction: float, *, seed: int, what: str = "image"
) -> Int[np.ndarray, " m"]:
    """Draw the test images: the same fraction of each class.

    Args:
      labels: each image's class.
      test_fraction: fraction of a class, rounded; at least one image goes to each side.
      seed: draws the images.
      what: the thing that has a label, for the error message.

    Returns:
      Sorted positions of the test images.

    Raises:
      InputError: a class with a single image.
    """
    rng = np.random.default_rng(seed)
    drawn = [np.empty(0, np.int64)]
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        n = len(members)
        require(n > 1, f"class {str(c)!r} has 1 {what}, which cannot be on both sides of a split")
        drawn.append(rng.permutation(members)[: min(max(1, round(n * test_fraction)), n - 1)])
    return np.sort(np.concatenate(drawn))


def split_by_patient(
    labels: Shaped[np.ndarray, " n"],
    patients: Shaped[np.ndarray, " n"],
    test_fraction: float,
    *,
    seed: int,
) -> Int[np.ndarray, " m"]:
    """Draw the test patients: the same fraction of each class.

    A patient's class is the most frequent class of the patient's images (of equally frequent ones
    the first).

    Args:
      labels: each image's class.
      patients: each image's patient.
      test_fraction: fraction of a class's patients, rounded; at least one goes to each side.
      seed: draws the patients.

    Returns:
      Sorted positions of all images of the test patients.

    Raises:
      InputError: a class with a single patient.
    """
    drawn = split_by_class(
        patient_classes(labels, patients), test_fraction, seed=seed, what="patient"
    )
    return np.flatnonzero(np.isin(np.unique(patients, return_inverse=True)[1], drawn))


def patient_classes(
    labels: Shaped[np.ndarray, " n"], patients: Shaped[np.ndarray, " n"]
) -> Shaped[np.ndarray, " p"]:
    """The most frequent class of each patient's images; of equally frequent ones the first.

    Args:
      labels: each image's class.
      patients: each image's patient.

    Returns:
      One class for each patient, in the order of `np.unique(patients)`.
    """
    classes, label = np.unique(labels, return_inverse=True)
    people, person = np.unique(patients, return_inverse=True)
    counts = np.zeros((len(people), len(classes)), int)
    np.add.at(counts, (person, label), 1)
    return classes[counts.argmax(1)]
