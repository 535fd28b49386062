"""Handwritten digits from scikit-learn: real images without a download."""

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.memory import afford
from assl_jax.data.settings import check
from assl_jax.data.splits import stratified_subset
from assl_jax.errors import in_range


def digits(*, labels: int = 100, side: int = 32, test: int = 500, seed: int = 0) -> Dataset:
    """The 1,797 digits of 8x8 pixels in scikit-learn, enlarged.

    Source: Alpaydin & Kaynak 1998, the test part of the UCI "optical recognition of handwritten
    digits" set, as in `sklearn.datasets.load_digits`.

    Args:
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all
        images except the test images.
      side: side of the square images in pixels (bilinear).
      test: number of test images, drawn evenly from the classes, 10 to 1,700.
      seed: draws both.

    Returns:
      A data set of `[1797, side, side, 1]` uint8 images in 0..255 and ten classes. The unlabeled
      images are all except the test images.

    Raises:
      InputError: a setting out of range, or a class with too few images for `labels`.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    check(labels=labels, seed=seed)
    in_range(side, "data.side", at_least=1)
    in_range(test, "data.test", at_least=10, at_most=1700)  # 10 classes, the smallest of 174

    source = load_digits()
    classes = source.target.astype(np.int32)
    afford(2.0 * len(classes) * side**2, f"data.side={side}", "lower it")  # a list, and an array
    small = np.rint(source.images * (255 / 16)).astype(np.uint8)
    bilinear = Image.Resampling.BILINEAR
    resized = [np.asarray(Image.fromarray(x).resize((side, side), bilinear)) for x in small]
    images = np.stack(resized)[..., None]

    test_images = stratified_subset(classes, test, seed=seed)
    others = np.setdiff1d(np.arange(len(classes)), test_images)
    chosen = others
    if labels:
        chosen = others[stratified_subset(classes[others], labels, seed=seed)]
    return Dataset(
        name="digits",
        images=images,
        labels=classes,
        class_names=tuple(str(c) for c in source.target_names),
        unlabeled=others,
        labelled_sets=(chosen,),
        test=test_images,
        intensity=intensity_of(images[others], low=0.0, high=255.0),
    )
