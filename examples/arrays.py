"""A data source of your own: images and labels in two NumPy files.

    assl-jax run pretrain:arrays:arrays --config.data.path=FOLDER

(in this folder; after the colon stands `module:function`).
"""

import numpy as np

from assl_jax.data import Dataset
from assl_jax.data.dataset import intensity_of
from assl_jax.data.settings import check, existing_folder
from assl_jax.data.splits import split_by_name, stratified_subset
from assl_jax.files import read_array


def arrays(
    *, path: str = "", labels: int = 0, test_fraction: float = 0.2, seed: int = 0
) -> Dataset:
    """`images.npy` `[n, *space, c]` uint8 and `labels.npy` `[n]`; -1 marks an unlabeled image."""
    check(labels=labels, test_fraction=test_fraction, seed=seed)
    folder = existing_folder(path, "the folder with images.npy and labels.npy")
    images = read_array(folder / "images.npy", mmap=True)
    classes = read_array(folder / "labels.npy").astype(np.int32)

    labelled = np.flatnonzero(classes >= 0)
    names = [str(i) for i in labelled]  # an image stays on its side if others are added
    test = labelled[split_by_name(classes[labelled], names, test_fraction, seed=seed)]
    chosen = np.setdiff1d(labelled, test)
    if labels:
        chosen = chosen[stratified_subset(classes[chosen], labels, seed=seed)]
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
