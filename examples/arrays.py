"""A data source of your own: images and labels in two NumPy files.

    assl-jax run pretrain:arrays:Arrays --config.data.path=FOLDER

(in this folder; after the colon stands `module:Class`).
"""

import dataclasses

import numpy as np

from assl_jax.data import Dataset, Source
from assl_jax.data.dataset import intensity_of
from assl_jax.data.settings import existing_folder
from assl_jax.data.source import Labels, TestFraction
from assl_jax.data.splits import split_by_name, stratified_subset
from assl_jax.files import read_array
from assl_jax.ranges import Seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """`images.npy` `[n, *space, c]` uint8 and `labels.npy` `[n]`; -1 marks an unlabeled image.

    Attributes:
      path: the folder with both files.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: share of every class's images that become test images.
      seed: draws the split and the labelled set.
    """

    path: str = ""
    labels: Labels = 0
    test_fraction: TestFraction = 0.2
    seed: Seed = 0

    def load(self) -> Dataset:
        folder = existing_folder(self.path, "the folder with images.npy and labels.npy")
        images = read_array(folder / "images.npy", mmap=True)
        classes = read_array(folder / "labels.npy").astype(np.int32)

        labelled = np.flatnonzero(classes >= 0)
        names = [str(i) for i in labelled]  # an image stays on its side if others are added
        drawn = split_by_name(classes[labelled], names, self.test_fraction, seed=self.seed)
        test = labelled[drawn]
        chosen = np.setdiff1d(labelled, test)
        if self.labels:
            chosen = chosen[stratified_subset(classes[chosen], self.labels, seed=self.seed)]
        unlabeled = np.setdiff1d(np.arange(len(images)), test)
        return Dataset(
            name="arrays",
            images=images,
            labels=classes,
            class_names=tuple(str(k) for k in range(classes.max() + 1)),
            unlabeled=unlabeled,
            labelled_sets=(chosen,),
            test=test,
            intensity=intensity_of(images[unlabeled], low=0.0, high=255.0),
        )
