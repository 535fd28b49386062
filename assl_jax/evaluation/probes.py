"""What frozen features know of the classes: a linear probe and nearest neighbours."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from assl_jax.errors import require
from assl_jax.evaluation.scores import scores, summarise

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C, the inverse of the penalty
FIXED = 1e-2  # C where nothing can be held out to choose it
FOLDS = 5
CHUNK = 512  # test images compared with all training images at a time

Features = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Probabilities = Float[np.ndarray, "m k"]


def linear_probe(
    train_x: Features,
    train_y: Labels,
    test_x: Float[np.ndarray, "m d"],
    *,
    classes: int,
    patients: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Probabilities:
    """Multinomial logistic regression on frozen features.

    Source: Alain & Bengio 2016, with the protocol usual for self-supervised features. The penalty
    on the squared weights is the one with the largest likelihood in stratified cross-validation
    inside the training images, of at most `FOLDS` folds; all images of a patient lie in one fold.

    Args:
      train_x: features, standardised by their own mean and standard deviation.
      train_y: classes, 0 to `classes` - 1.
      test_x: features to be judged, standardised by those of `train_x`.
      classes: number of classes.
      patients: whom each training image is of; None means that each is of somebody else.
      seed: draws the folds.

    Returns:
      Probabilities of the classes; 0 for one that `train_y` lacks.

    Deviations: where a class has a single image (patient), nothing can be held out, and the
    strength is `FIXED`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # for matrices this small, several threads take 10 times as long
        strength = _best_strength(train_x, train_y, classes, patients, seed)
        (probabilities,) = _fits(train_x, train_y, test_x, classes, [strength])
    return probabilities


def knn(
    train_x: Features,
    train_y: Labels,
    test_x: Float[np.ndarray, "m d"],
    *,
    classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Probabilities:
    """Votes of the k nearest training images, weighted by `exp(cosine similarity / temperature)`.

    Source: Wu et al. 2018, as in the evaluation of Caron et al. 2021 (DINO).

    Args:
      train_x: features; only their directions count, and a row of zeros is similar to nothing.
      train_y: classes, 0 to `classes` - 1.
      test_x: features to be judged.
      classes: number of classes.
      k: neighbours that vote; all training images where there are fewer.
      temperature: above 0; the smaller, the more the nearest ones count.

    Returns:
      Each class's share of the votes. Of equally near images the earlier ones vote.

    Raises:
      InputError: k or temperature out of range.
    """
    require(k >= 1, f"k={k} must be at least 1")
    require(temperature > 0, f"temperature={temperature} must be above 0")
    train, test = _directions(train_x), _directions(test_x)
    parts = []
    for start in range(0, len(test), CHUNK):
        similarity = test[start : start + CHUNK] @ train.T
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        near = np.take_along_axis(similarity, nearest, 1)
        # The nearest one weighs 1: no temperature overflows.
        weights = np.exp((near - near[:, :1]) / temperature)
        rows = np.arange(len(near)).reshape(-1, 1)
        cells = rows * classes + train_y[nearest]
        votes = np.bincount(cells.ravel(), weights.ravel(), len(near) * classes)
        parts.append(votes.reshape(-1, classes) / weights.sum(1, keepdims=True))
    return np.concatenate(parts)


def probe(
    x: Features,
    labels: Labels,
    labelled_sets: Sequence[Int[np.ndarray, " l"]],
    test: Int[np.ndarray, " m"],
    *,
    classes: int,
    patients: Shaped[np.ndarray, " n"] | None = None,
    k: int = 20,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """`linear_probe` and `knn` trained on every labelled set, tested on the same images.

    Args:
      x: features of all images.
      labels: their classes; looked at in the labelled sets and the test set alone.
      labelled_sets: positions of each set's training images.
      test: positions of the test images.
      classes: number of classes.
      patients: whom each image is of; None means that each is of somebody else.
      k: see `knn`.
      seed: see `linear_probe`.

    Returns:
      "linear" and "knn", each with "metrics" and "confusion" of `summarise` over the labelled
      sets, and "runs", the accuracy of each.
    """
    groups = np.arange(len(x)) if patients is None else patients
    linear, near = {}, {}
    for i, rows in enumerate(labelled_sets):
        x_and_y = x[rows], labels[rows], x[test]
        linear[f"set {i}"] = linear_probe(
            *x_and_y, classes=classes, patients=groups[rows], seed=seed
        )
        near[f"set {i}"] = knn(*x_and_y, classes=classes, k=k)
    return {
        name: {
            **summarise(labels[test], runs, groups[test]),
            "runs": [scores(labels[test], p)["accuracy"] for p in runs.values()],
        }
        for name, runs in {"linear": linear, "knn": near}.items()
    }


def _best_strength(
    x: Features, y: Labels, classes: int, patients: np.ndarray | None, seed: int
) -> float:
    """The strength that makes the held-out labels likeliest; of equals the smallest."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.arange(len(y)) if patients is None else patients
    members = {c: len(np.unique(groups[y == c])) for c in np.unique(y)}
    folds = min(FOLDS, *members.values())
    if folds < 2:
        return FIXED
    loss = np.zeros(len(STRENGTHS))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, y, groups)
    for train, held in split:
        for i, p in enumerate(_fits(x[train], y[train], x[held], classes, STRENGTHS)):
            # A class that these folds lack, or certainty gone wrong, must not cost infinitely much.
            loss[i] -= np.log(p[np.arange(len(held)), y[held]].clip(1e-12)).sum()
    return STRENGTHS[int(loss.argmin())]


def _fits(
    x: Features, y: Labels, test: np.ndarray, classes: int, strengths: Sequence[float]
) -> Iterator[Probabilities]:
    """Probabilities of `test` for one strength after the other, each fit begun at the last one."""
    from sklearn.linear_model import LogisticRegression

    present = np.unique(y)
    x, test = _standardise(x, test)
    model = LogisticRegression(max_iter=10_000, warm_start=True)
    for strength in strengths:
        p = np.zeros((len(test), classes))
        if len(present) > 1:
            p[:, present] = model.set_params(C=strength).fit(x, y).predict_proba(test)
        else:  # there is nothing to tell apart
            p[:, present] = 1.0
        yield p


def _standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, by mean and deviation of `train`; a constant feature is only centred."""
    # Seen from the first row, a constant is exactly 0, and so is its deviation.
    first = train[0].astype(np.float64)
    train, test = train - first, test - first
    mean, std = train.mean(0), train.std(0)
    std[std == 0] = 1.0
    return (train - mean) / std, (test - mean) / std


def _directions(x: np.ndarray) -> np.ndarray:
    """Rows of length 1, in float64; a row of zeros stays one."""
    x = x.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0, norms, 1.0)
