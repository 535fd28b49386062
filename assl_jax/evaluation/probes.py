"""Linear probe and k-NN: how well frozen features separate the classes."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from threadpoolctl import threadpool_limits

from assl_jax.data import Dataset
from assl_jax.evaluation.uncertainty import summarise
from assl_jax.records import Evaluation

PROBES = {"linear": "Linear", "knn": "k-NN"}  # by name: the title
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C, the inverse of the penalty
FIXED = 1e-2  # C if a class is too small for a cross-validation
FOLDS = 5
FAINT = 1e-3  # of the median deviation; `linear_head` scales no feature up beyond it
CHUNK = 512  # test images whose similarities are in memory together
TEMPERATURE = 0.07  # of the votes of neighbours: a lower one gives the nearest more weight

Features = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Probabilities = Float[np.ndarray, "m k"]


def linear_probe(
    train_x: Features,
    train_y: Labels,
    test_x: Float[np.ndarray, "m d"],
    *,
    classes: int,
    groups: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Probabilities:
    """Multinomial logistic regression on frozen features.

    Source: Alain & Bengio 2016, with the usual protocol for self-supervised features. Stratified
    cross-validation inside the training images, with at most `FOLDS` folds, chooses the penalty on
    the squared weights with the largest likelihood. All images of a patient lie in one fold.

    Args:
      train_x: features. Their mean and standard deviation standardise all features.
      train_y: classes, 0 to `classes` - 1.
      test_x: features to predict.
      classes: number of classes.
      groups: the patient of each training image; None means that every image has its own.
      seed: of the folds.

    Returns:
      Probabilities of the classes; 0 for a class that `train_y` lacks.

    Deviations: if a class has a single patient, nothing can be held out and C is `FIXED`.
    """
    with threadpool_limits(1):  # several threads are 10 times slower on matrices this small
        strength = _best_strength(train_x, train_y, classes, groups, seed)
        (probabilities,) = _fits(train_x, train_y, test_x, classes, [strength])
    return probabilities


def linear_head(
    x: Features, y: Labels, *, classes: int, groups: Shaped[np.ndarray, " n"] | None = None
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
    """Kernel and bias of a linear layer on raw features, with the probabilities of `linear_probe`.

    They are float32; `softmax(x @ kernel + bias)` are the probabilities. The arguments are those of
    `linear_probe`, whose seed is 0.

    Deviations: a class that `y` lacks has the logit 0, so its probability is not 0. A feature that
    hardly varies, by less than `FAINT` of the median deviation, is not scaled up to unit variance:
    its weights would be huge.
    """
    from sklearn.linear_model import LogisticRegression

    kernel, bias = np.zeros((x.shape[1], classes)), np.zeros(classes)
    present = np.unique(y)
    if len(present) > 1:
        first, mean, std = _moments(x)
        std = np.maximum(std, FAINT * np.median(std))
        with threadpool_limits(1):
            strength = _best_strength(x, y, classes, groups, 0)
            model = LogisticRegression(max_iter=10_000, C=strength)
            model.fit((x.astype(np.float64) - first - mean) / std, y)
        coefficients, intercept = model.coef_, model.intercept_
        if len(present) == 2:  # a single logit, of the second class against the first
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercept = np.concatenate([-intercept, intercept]) / 2
        kernel[:, present] = (coefficients / std).T
        bias[present] = intercept - coefficients @ ((first + mean) / std)
    return kernel.astype(np.float32), bias.astype(np.float32)


def knn(
    train_x: Features,
    train_y: Labels,
    test_x: Float[np.ndarray, "m d"],
    *,
    classes: int,
    k: int = 20,
) -> Probabilities:
    """Votes of the k nearest training images, weighted by `exp(cosine similarity / TEMPERATURE)`.

    Source: Wu et al. 2018, as in the evaluation of Caron et al. 2021 (DINO).

    Args:
      train_x: features; only their directions count. A row of zeros has similarity 0 to all.
      train_y: classes, 0 to `classes` - 1.
      test_x: features to predict.
      classes: number of classes.
      k: number of neighbours that vote; all training images if there are fewer.

    Returns:
      The share of the votes of each class. The earlier of equally near images votes first.
    """
    train, test = _directions(train_x), _directions(test_x)
    parts = []
    for start in range(0, len(test), CHUNK):
        similarity = test[start : start + CHUNK] @ train.T
        parts.append(_votes(similarity, train_y, classes, k))
    return np.concatenate(parts)


def knn_accuracy(
    x: Features,
    y: Labels,
    *,
    classes: int,
    groups: Shaped[np.ndarray, " n"] | None = None,
    k: int = 20,
) -> float:
    """The share of labelled images that their nearest other images classify rightly, see `knn`.

    Images of the same patient do not vote for each other, and there are at least two patients. At
    most the number of the other images of the rarest class vote: it could not win a vote of more.
    """
    directions = _directions(x)
    groups = np.arange(len(y)) if groups is None else groups
    similarity = np.where(groups[:, None] == groups, -np.inf, directions @ directions.T)
    rarest = int(np.unique(y, return_counts=True)[1].min())
    votes = _votes(similarity, y, classes, max(1, min(k, rarest - 1)))
    return float((votes.argmax(1) == y).mean())


def _votes(similarity: Float[np.ndarray, "m n"], y: Labels, classes: int, k: int) -> Probabilities:
    """The shares of the votes of the k most similar images; -inf for an image without a vote."""
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(similarity, nearest, 1)
    # The weight of the nearest image is 1, so nothing overflows.
    weights = np.exp((near - near[:, :1]) / TEMPERATURE)
    rows = np.arange(len(near)).reshape(-1, 1)
    cells = rows * classes + y[nearest]
    votes = np.bincount(cells.ravel(), weights.ravel(), len(near) * classes)
    return votes.reshape(-1, classes) / weights.sum(1, keepdims=True)


def probe(
    x: Features, rows: Labels, dataset: Dataset, *, k: int = 20, seed: int = 0
) -> dict[str, Evaluation]:
    """Train each of `PROBES` on each labelled set of a data set, and test it on the test set.

    Args:
      x: features of the images `rows`.
      rows: sorted numbers of images, which hold those of all these sets.
      dataset: images, classes and patients.
      k: see `knn`.
      seed: see `linear_probe`.

    Returns:
      `summarise` over the labelled sets, by the name of the probe.
    """
    labels, groups, classes = dataset.labels[rows], dataset.groups[rows], dataset.num_classes
    test = np.searchsorted(rows, dataset.test)
    linear, near = [], []
    for labelled in dataset.labelled_sets:
        train = np.searchsorted(rows, labelled)
        data = x[train], labels[train], x[test]
        linear.append(linear_probe(*data, classes=classes, groups=groups[train], seed=seed))
        near.append(knn(*data, classes=classes, k=k))
    runs = dict(zip(PROBES, (linear, near), strict=True))
    return {name: summarise(labels[test], of, groups[test]) for name, of in runs.items()}


def cross_validated_loss(
    x: Features,
    y: Labels,
    *,
    classes: int,
    groups: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> float | None:
    """The log loss per image of a linear probe in cross-validation, with the best penalty, in nats.

    The features of two networks can stand side by side, `[n, d1 + d2]`. The other arguments are
    those of `linear_probe`. None if a class has a single patient.
    """
    with threadpool_limits(1):
        losses = _losses(x, y, classes, groups, seed)
    return None if losses is None else float(losses.min()) / len(y)


def _best_strength(
    x: Features, y: Labels, classes: int, groups: np.ndarray | None, seed: int
) -> float:
    """The C with the largest likelihood of the held-out labels, the smallest if several tie."""
    losses = _losses(x, y, classes, groups, seed)
    return FIXED if losses is None else STRENGTHS[int(losses.argmin())]


def _losses(
    x: Features, y: Labels, classes: int, groups: np.ndarray | None, seed: int
) -> Float[np.ndarray, " s"] | None:
    """The log loss of all held-out labels for each C; None if nothing can be held out.

    The list ends where the loss has begun to rise: a weaker penalty overfits still more, and its
    fits take the longest.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.arange(len(y)) if groups is None else groups
    members = {c: len(np.unique(groups[y == c])) for c in np.unique(y)}
    folds = min(FOLDS, *members.values())
    if folds < 2:
        return None
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    split = list(splitter.split(x, y, groups))
    fits = [_fits(x[train], y[train], x[held], classes, STRENGTHS) for train, held in split]
    losses: list[float] = []
    for predicted in zip(*fits, strict=True):
        # A class missing from the fold, or a certain wrong guess, must not cost infinity.
        pairs = zip(predicted, split, strict=True)
        right = [p[np.arange(len(held)), y[held]].clip(1e-12) for p, (_, held) in pairs]
        losses.append(-float(np.log(np.concatenate(right)).sum()))
        if losses[-1] > min(losses):
            break
    return np.array(losses)


def _fits(
    x: Features, y: Labels, test: np.ndarray, classes: int, strengths: Sequence[float]
) -> Iterator[Probabilities]:
    """Probabilities of `test` for each C of `strengths`; a fit starts from the one before."""
    from sklearn.linear_model import LogisticRegression

    present = np.unique(y)
    first, mean, std = _moments(x)  # a constant feature is only centred
    x, test = ((each - first - mean) / std for each in (x, test))
    model = LogisticRegression(max_iter=10_000, warm_start=True)
    for strength in strengths:
        p = np.zeros((len(test), classes))
        if len(present) > 1:
            p[:, present] = model.set_params(C=strength).fit(x, y).predict_proba(test)
        else:  # a single class needs no fit
            p[:, present] = 1.0
        yield p


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first row, and mean and standard deviation of the differences from it, in float64."""
    # After subtracting the first row, a constant feature is exactly 0, and so is its deviation.
    first = x[0].astype(np.float64)
    mean, std = (x - first).mean(0), (x - first).std(0)
    std[std == 0] = 1.0
    return first, mean, std


def _directions(x: np.ndarray) -> np.ndarray:
    """Rows of length 1, in float64; a row of zeros stays zero."""
    x = x.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0, norms, 1.0)
