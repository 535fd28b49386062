"""Masks beside images, as public data sets name them."""

import pytest

from assl_jax.data.masks import masks_among

FOUND = {  # paths: those that are masks
    "suffixes": (["benign/benign (1).png", "benign/benign (1)_mask.png"], [1]),
    "several masks of one image": (["a/1.png", "a/1_mask.png", "a/1_mask_1.png"], [1, 2]),
    "two folders": (["images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.png"], [2, 3]),
    "inside classes": (["COVID/images/1.png", "COVID/masks/1.png", "Normal/images/1.png"], [1]),
    "a folder and a suffix": (["CXR_png/1.png", "mask/1_mask.png"], [1]),
    "a folder in the images'": (["a/1.png", "a/mask/1_mask.png"], [1]),
    "other words": (["imgs/1.png", "Ground truth/1.png"], [1]),
    "a prefix": (["a/7.png", "a/mask_7.png"], [1]),
    "a mask whose image is gone": (
        ["images/1.png", "images/2.png", "masks/1.png"] + ["masks/2.png", "masks/3.png"],
        [2, 3, 4],
    ),
    "half of a folder": (["images/1.png", "masks/1.png", "masks/x.png"], [1]),
}
KEPT = {
    "nothing of the kind": ["unlabeled/1.png", "unlabeled/1_b.png"],
    "faces with and without a mask": [f"{c}/{i}.png" for c in ("mask", "no_mask") for i in "123"],
    "with_mask": [f"{c}/{i}.png" for c in ("with_mask", "without_mask") for i in "123"],
    "suffixes without an image": ["a/1_mask.png", "b/2_mask.png"],
    "a word in a name": ["a/maskrat.png", "a/rat.png", "a/1seg.png", "a/1.png"],
    "other names in a folder of masks": ["images/1.png", "masks/x.png", "masks/y.png"],
    "a class of labels": ["labels/1.png", "boxes/1.png"],
}


@pytest.mark.parametrize("what", FOUND)
def test_masks(what):
    paths, masks = FOUND[what]
    assert list(masks_among(paths)) == [paths[k] for k in masks]


def test_the_image_is_named():
    assert masks_among(["images/1.jpg", "masks/1.png"]) == {"masks/1.png": "images/1.jpg"}


@pytest.mark.parametrize("what", KEPT)
def test_what_is_no_mask(what):
    assert masks_among(KEPT[what]) == {}
