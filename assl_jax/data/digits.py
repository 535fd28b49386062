"""Handwritten digits from scikit-learn: real images without a download."""

import dataclasses
from typing import Annotated

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.memory import afford
from assl_jax.data.source import LARGEST_SIDE, Labels, Source
from assl_jax.data.splits import drawn
from assl_jax.ranges import Range, Seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """The 1,797 digits of 8x8 pixels in scikit-learn, enlarged.

    Source: Alpaydin & Kaynak 1998, the test part of the UCI "optical recognition of handwritten
    digits" set, as in `sklearn.datasets.load_digits`.

    It gives `[1797, side, side, 1]` uint8 images in 0..255 and ten classes. The unlabeled images
    are all except the test images.

    Attributes:
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all
        images except the test images.
      side: side of the square images in pixels (bilinear).
      test: number of test images, drawn evenly from the classes, 10 to 1,700.
      seed: draws both.

    Raises:
      InputError: a setting out of range, or a class with too few images for `labels`.
    """

    labels: Labels = 100
    side: Annotated[int, Range(at_least=1, at_most=LARGEST_SIDE)] = 32
    test: Annotated[int, Range(at_least=10, at_most=1700)] = 500  # the smallest class has 174
    seed: Seed = 0

    def load(self) -> Dataset:
        from PIL import Image
        from sklearn.datasets import load_digits

        source = load_digits()
        classes = source.target.astype(np.int32)
        need = 2.0 * len(classes) * self.side**2  # a list, and an array
        afford(need, f"data.side={self.side}", "lower it")
        small = np.rint(source.images * (255 / 16)).astype(np.uint8)
        size, bilinear = (self.side, self.side), Image.Resampling.BILINEAR
        resized = [np.asarray(Image.fromarray(x).resize(size, bilinear)) for x in small]
        images = np.stack(resized)[..., None]

        splits = drawn(classes, test=self.test, chosen=self.labels, seed=self.seed)
        return Dataset(
            name="digits",
            images=images,
            class_names=tuple(str(c) for c in source.target_names),
            intensity=intensity_of(images[splits["unlabeled"]], low=0.0, high=255.0),
            **splits,
        )
