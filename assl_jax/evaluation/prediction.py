"""Classes of new files, by the fine-tuned networks of a run."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from assl_jax.console import Progress
from assl_jax.errors import InputError
from assl_jax.evaluation.calibration import Decision
from assl_jax.evaluation.classification import probabilities
from assl_jax.evaluation.export import Model
from assl_jax.evaluation.features import features
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh, replicate

READERS = min(8, os.cpu_count() or 1)  # threads; each holds a whole volume


class Predictions(NamedTuple):
    """What the networks say of the files that could be read.

    Attributes:
      probabilities: of each network; their mean is the prediction.
      features: pooled features of the first network.
      unread: the reason for every file that could not be read.
    """

    files: list[Path]
    probabilities: Float[np.ndarray, "m n k"]
    features: Float[np.ndarray, "n d"]
    unread: dict[Path, str]

    @property
    def mean(self) -> Float[np.ndarray, "n k"]:
        """The probability of every class, the mean over the networks."""
        return self.probabilities.mean(0, dtype=np.float64)

    def classes(self, decision: Decision | None = None) -> Int[np.ndarray, " n"]:
        """The class of each file, by number; `decision` chooses between two."""
        if decision:
            return (self.mean[:, 1] >= decision.point.threshold).astype(int)
        return self.mean.argmax(1)


def predict(models: Sequence[Model], files: Sequence[Path], *, batch_size: int) -> Predictions:
    """Classify files, in batches; a file that cannot be read is left out.

    Args:
      models: fine-tuned networks of one data set, as `load_ensemble` gives them.
      files: images or volumes; they become images of the data set by `Model.reader`.
      batch_size: images per batch. With the run's size, and with its test files in their order, the
        result equals the run's own predictions bit for bit. In another place of a batch, an image's
        features can differ in the last bit of single precision.
    """
    mesh = make_mesh()
    variables = [replicate(model.variables, mesh) for model in models]
    shares: list[list[np.ndarray]] = [[] for _ in models]
    pooled, read, unread = [], list[Path](), dict[Path, str]()
    with Progress("predict", len(files)) as progress:
        for batch, images in _batches(models[0], files, batch_size, unread):
            feed = Feed(images, mesh, "host")
            found = [
                features(
                    model.backbone,
                    weights,
                    feed,
                    np.arange(len(images)),
                    intensity=model.intensity,
                    batch_size=batch_size,
                )
                for model, weights in zip(models, variables, strict=True)
            ]
            for own, model, x in zip(shares, models, found, strict=True):
                own.append(probabilities(x, model.kernel, model.bias))
            pooled.append(found[0])
            read += batch
            progress.update(len(read) + len(unread), "")
    if not read:
        file, reason = next(iter(unread.items()))
        raise InputError(f"none of the {len(files)} files can be read; {file}: {reason}")
    every = np.stack([np.concatenate(own) for own in shares])
    return Predictions(read, every, np.concatenate(pooled), unread)


def _batches(
    model: Model, files: Sequence[Path], size: int, unread: dict[Path, str]
) -> Iterator[tuple[list[Path], np.ndarray]]:
    """Files and their images, `size` at a time; the others are put into `unread`."""

    def read(file: Path) -> np.ndarray | str:
        try:
            return model.reader.read(file)
        except InputError as error:
            return str(error).removeprefix(f"{file} ")

    batch, images = list[Path](), list[np.ndarray]()
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(files), size):
            block = files[start : start + size]
            for file, image in zip(block, pool.map(read, block), strict=True):
                if isinstance(image, str):
                    unread[file] = image
                    continue
                batch.append(file)
                images.append(image)
                if len(batch) == size:
                    yield batch, np.stack(images)
                    batch, images = [], []
    if batch:
        yield batch, np.stack(images)
