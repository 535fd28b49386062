"""Grad-CAM and Guided Grad-CAM as a grid of pictures."""

from typing import NamedTuple

import numpy as np

from assl_jax.evaluation.gradcam import Attention
from assl_jax.report.figures import example_images
from assl_jax.report.html import Picture, render
from assl_jax.report.names import label_title

STRONGEST = 0.6  # how much of the image a value of 1 covers
CLIPPED = 0.01  # share of the guided gradients, the strongest ones, that are clipped
NOTE = (
    "Grad-CAM: bright regions count most for the class that the network predicts, named below the "
    "picture. The map is as coarse as the network's last convolution stage; its size is in the "
    "column head, and a map of 1x1 shows no location. Guided Grad-CAM: the pixels that count for "
    "this class, lighter or darker than grey by the sign of the guided gradient."
)
VOLUMES = "Volumes are shown as their axial, coronal and sagittal middle slices."


class NetworkHead(NamedTuple):
    """A network's title, and the size of its last stage's map."""

    title: str
    size: str


class ImageRow(NamedTuple):
    """An image as the networks see it.

    Attributes:
      truth: its class.
      original: the image.
      explained: Grad-CAM and Guided Grad-CAM of each network in turn.
      predicted: what each network predicts.
    """

    truth: str
    original: Picture
    explained: list[Picture]
    predicted: list[str]


class Grid(NamedTuple):
    """What the template `attention.html.j2` shows; `kind` is the CSS class of the pictures."""

    note: str
    kind: str
    networks: list[NetworkHead]
    images: list[ImageRow]


def attention_grid(shown: Attention | None) -> Grid | None:
    """A row for each image, two columns for each network; None for None."""
    if shown is None:
        return None
    volumes = shown.originals.ndim == 5
    return Grid(
        note=f"{NOTE} {VOLUMES}" if volumes else NOTE,
        kind="example volume" if volumes else "example",
        networks=[
            NetworkHead(label_title(network.label), "x".join(map(str, network.places)))
            for network in shown.networks
        ],
        images=[_image_row(shown, i) for i in range(len(shown.truths))],
    )


def gradcam_page(title: str, shown: Attention) -> str:
    """The grid as an HTML page of its own, which needs no other file."""
    return render("gradcam.html.j2", title=title, grid=attention_grid(shown))


def _image_row(shown: Attention, i: int) -> ImageRow:
    image, truth = shown.originals[i], shown.truths[i]
    explained = []
    for network in shown.networks:
        about = f"of {label_title(network.label)} for {network.predicted[i]}"
        pngs = example_images(
            overlay(image, network.cams[i]), relief(network.guided[i])[np.newaxis]
        )
        names = ("Grad-CAM", "Guided")
        explained += [
            Picture(png, f"{name} {about}") for name, png in zip(names, pngs, strict=True)
        ]
    original, _ = example_images(image, image[np.newaxis])
    return ImageRow(
        truth=truth,
        original=Picture(original, f"Image: {truth}"),
        explained=explained,
        predicted=[network.predicted[i] for network in shown.networks],
    )


def overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Cover the grey image with colour where `cam` is high.

    Args:
      image: `[*space, c]` in [0, 1].
      cam: `[*space]` in [0, 1]; the grey image is unchanged where it is 0.

    Returns:
      `[*space, 3]` in [0, 1].
    """
    import matplotlib

    grey = image.mean(-1, keepdims=True)
    cover = STRONGEST * cam[..., None]
    return (1 - cover) * grey + cover * matplotlib.colormaps["inferno"](cam)[..., :3]


def relief(guided: np.ndarray) -> np.ndarray:
    """Values of both signs to [0, 1] around grey, 0.5; the strongest 1 % are clipped."""
    strength = np.abs(guided)
    top = np.quantile(strength, 1 - CLIPPED) or strength.max() or 1.0
    return np.clip(0.5 + guided / (2 * top), 0.0, 1.0)
