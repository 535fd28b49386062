"""A network's features as a map in the plane, and as nearest neighbours."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from assl_jax.data import Dataset

MAPPED = 500  # images of a map at most
FEWEST = 8  # images of a map at least
PERPLEXITY = 30.0  # about how many neighbours of each image a map keeps together
DIRECTIONS = 50  # principal components that a map is made from
ITERATIONS = 500  # of t-SNE; the map takes a few seconds


class Embedding(NamedTuple):
    """Held-out images as a network sees them.

    Attributes:
      points, classes: the map, and the class of each point.
      images: in [0, 1]: q images, each with its neighbours, the nearest first; c is 1 or 3.
      named: the class of each of them.
    """

    points: Float[np.ndarray, "n 2"]
    classes: Int[np.ndarray, " n"]
    images: Float[np.ndarray, "q m *space c"]
    named: Int[np.ndarray, "q m"]


def embed(
    features: Float[np.ndarray, "n d"],
    rows: Int[np.ndarray, " n"],
    dataset: Dataset,
    *,
    queries: int = 6,
    neighbours: int = 5,
    seed: int = 0,
) -> Embedding | None:
    """The map and the neighbours of a network's features; None for fewer than `FEWEST` images.

    Args:
      features: of n images with labels; the first `MAPPED` count.
      rows: their numbers in the data set.
      dataset: images, classes and patients.
      queries: images whose neighbours are shown; the classes take turns.
      neighbours: of each. They belong to other patients.
      seed: of the map.
    """
    features, rows = features[:MAPPED], rows[:MAPPED]
    if len(rows) < FEWEST or not np.isfinite(features).all():
        return None
    classes = dataset.labels[rows]
    asked = in_turn(classes)[:queries]
    near = nearest(features, asked, dataset.groups[rows], neighbours)
    shown = np.concatenate([asked[:, None], near], axis=1)
    stored = np.stack([dataset.images[rows[line]] for line in shown])
    images = np.asarray(dataset.intensity.unit(stored))
    return Embedding(plane(features, seed=seed), classes, images, classes[shown])


def plane(features: Float[np.ndarray, "n d"], *, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """A map of the features in which neighbours stay together.

    Source: t-SNE, van der Maaten and Hinton 2008, on the first `DIRECTIONS` principal components,
    from which it also starts. One thread computes it, so that the same features give the same map.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = features.astype(np.float64)
    x = x - x.mean(0)
    with threadpool_limits(limits=1):
        u, s, _ = np.linalg.svd(x / (x.std() or 1.0), full_matrices=False)
        x = (u * s)[:, :DIRECTIONS]
        start = np.pad(x[:, :2], ((0, 0), (0, max(0, 2 - x.shape[1]))))
        start = 1e-4 * start / (start[:, 0].std() or 1.0)
        model = TSNE(
            init=start.astype(np.float32),
            perplexity=min(PERPLEXITY, (len(x) - 1) / 3),
            max_iter=ITERATIONS,
            random_state=seed,
        )
        return model.fit_transform(x)


def nearest(
    features: Float[np.ndarray, "n d"],
    queries: Int[np.ndarray, " q"],
    groups: Shaped[np.ndarray, " n"],
    m: int,
) -> Int[np.ndarray, "q m"]:
    """The m images most similar to each query, by the cosine of the centred features.

    Images of the query's own group are left out. So m may become smaller, for all queries.
    """
    x = features.astype(np.float64)
    x = x - x.mean(0)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    other = groups[queries][:, None] != groups[None, :]
    similar = np.where(other, x[queries] @ x.T, -np.inf)
    m = min(m, int(other.sum(1).min()))
    return np.argsort(-similar, axis=1, kind="stable")[:, :m]


def in_turn(classes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """An order in which classes take turns: the first image of each, then the second of each."""
    turn = np.array([(classes[:i] == k).sum() for i, k in enumerate(classes)])
    return np.lexsort((classes, turn))
