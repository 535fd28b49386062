"""Seeded draws of splits: subsets even over the classes, and test sets by name."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from assl_jax.errors import require


def stratified_subset(
    labels: Shaped[np.ndarray, " n"], total: int, *, seed: int, names: Sequence[str] = ()
) -> Int[np.ndarray, " total"]:
    """Draw `total` images, as equally many of each class as possible.

    Args:
      labels: each image's class.
      total: how many images.
      seed: draws them, and the classes that get one more if the division leaves a remainder.
      names: of the classes if `labels` are indices, for the error message.

    Returns:
      Sorted positions in `labels`.

    Raises:
      InputError: fewer images than classes, or a class with too few images.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    least = min(int((labels == c).sum()) for c in classes)
    require(
        total >= len(classes),
        f"data.labels={total} is less than one image for each of the {len(classes)} classes; ask "
        "for more labels",
    )
    share, extra = divmod(total, len(classes))
    larger = set(rng.permutation(len(classes))[:extra].tolist())
    chosen = []
    for i, c in enumerate(classes):
        want = share + (i in larger)
        members = np.flatnonzero(labels == c)
        require(
            len(members) >= want,
            f"data.labels={total} needs {want} images of class {names[c] if names else c}, which "
            f"has {len(members)}; ask for fewer labels, at most {len(classes) * least}",
        )
        chosen.append(rng.permutation(members)[:want])
    return np.sort(np.concatenate(chosen))


def drawn(labels: Shaped[np.ndarray, " n"], *, test: int, chosen: int, seed: int) -> dict[str, Any]:
    """The fields of `Dataset` that say who is what, for images that all have a label.

    `test` images are drawn evenly from the classes, and `chosen` ones for the labelled training set
    from the others; 0 takes all of these.
    """
    tested = stratified_subset(labels, test, seed=seed)
    others = np.setdiff1d(np.arange(len(labels)), tested)
    some = others[stratified_subset(labels[others], chosen, seed=seed)] if chosen else others
    return {"labels": labels, "unlabeled": others, "labelled_sets": (some,), "test": tested}


def split_by_name(
    labels: Shaped[np.ndarray, " n"],
    names: Sequence[str],
    test_fraction: float,
    *,
    seed: int,
    what: str = "image",
) -> Int[np.ndarray, " m"]:
    """Draw the test images, or the test patients with all their images, by their names.

    A hash of the seed and the name decides. So a name stays on its side when others are added or
    removed, and the fraction holds on average only. A name with images of several classes counts
    for each of them. Of every class at least one name goes to each side, as far as that can be.

    Args:
      labels: each image's class.
      names: of each image, or of its patient.
      test_fraction: share of the names that become test names.
      seed: another seed is another draw.
      what: the thing that has a name, for the error message.

    Returns:
      Sorted positions of the test images.

    Raises:
      InputError: a class with a single name.
    """
    people, person = np.unique(np.array(names, str), return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    # Each pair of a name and a class that it has, with the number of its images.
    pairs, images = np.unique(person * len(classes) + label, return_counts=True)
    who, of_class = np.divmod(pairs, len(classes))
    counts = np.bincount(of_class, minlength=len(classes))
    # The most frequent class of each name; of equally frequent ones the first.
    order = np.lexsort((of_class, -images, who))
    most = of_class[order][np.unique(who[order], return_index=True)[1]]
    place = np.array([_place(seed, name) for name in people.tolist()])
    tested = place < test_fraction
    for k, c in enumerate(classes):
        require(
            counts[k] > 1,
            f"class {str(c)!r} has 1 {what}, which cannot be on both sides of a split",
        )
        members = np.flatnonzero(most == k)
        if len(members) > 1:
            ordered = members[np.argsort(place[members], kind="stable")]
            tested[ordered[0]], tested[ordered[-1]] = True, False
    if len(pairs) > len(people):
        for k in range(len(classes)):
            for side in (True, False):
                _bring(k, side, tested, place, who, of_class)
    return np.flatnonzero(tested[person])


def _bring(
    k: int,
    side: bool,
    tested: np.ndarray,
    place: np.ndarray,
    who: np.ndarray,
    of_class: np.ndarray,
) -> None:
    """Move a name of class `k` to a side where the class has none, if no class loses a side by it.

    The names `who` have images of the classes `of_class`.
    """
    members = who[of_class == k]
    if (tested[members] == side).any():
        return
    order = members[np.argsort(place[members], kind="stable")]
    for name in order if side else order[::-1]:
        left = of_class[(tested[who] != side) & (who != name)]
        if np.isin(of_class[who == name], left).all():
            tested[name] = side
            return


def _place(seed: int, name: str) -> float:
    """A number from 0 to 1 that belongs to the name."""
    text = f"{seed}\n{name}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64
