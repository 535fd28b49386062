"""Grad-CAM and Guided Grad-CAM as a table of pictures."""

from collections.abc import Iterator

import numpy as np

from assl_jax.evaluation.gradcam import Attention
from assl_jax.report.html import to_html
from assl_jax.report.names import inside
from assl_jax.report.pictures import image_png
from assl_jax.report.record import RunRecord
from assl_jax.sections import Part, Picture, Pictures, Report, Section, Text
from assl_jax.words import say

STRONGEST = 0.6  # how much of the image a value of 1 covers
CLIPPED = 0.01  # share of the guided gradients, the strongest ones, that are clipped


def parts(run: RunRecord) -> Iterator[Part]:
    """What the maps mean, and a row of them for each image."""
    if run.attention:
        yield from explained(run.attention)


def explained(shown: Attention) -> Iterator[Part]:
    """A row for each image, two columns for each network."""
    volumes = shown.originals.ndim == 5
    columns = [say("attention.image")]
    for network in shown.networks:
        words = {"title": network.label, "size": "x".join(map(str, network.places))}
        columns += [say("attention.cam", **words), say("attention.guided", **words)]
    rows = tuple(_row(shown, i) for i in range(len(shown.truths)))
    note = f"{say('attention.note')} {say('planes') if volumes else ''}".rstrip()
    yield Text((note,), soft=True)
    yield Pictures(rows, tuple(columns), say("section.attention"), tall=volumes)


def gradcam_page(title: str, shown: Attention) -> str:
    """The pictures as an HTML page of its own, which needs no other file."""
    return to_html(Report(title, (Section.of(say("section.attention"), *explained(shown)),)))


def _row(shown: Attention, i: int) -> tuple[Picture, ...]:
    """An image, and Grad-CAM and Guided Grad-CAM of each network in turn."""
    image, truth = shown.originals[i], shown.truths[i]
    row = [Picture(image_png(image), say("neighbours.image", name=truth), truth)]
    for network in shown.networks:
        about = {"title": inside(network.label), "predicted": network.predicted[i]}
        cam, guided = overlay(image, network.cams[i]), relief(network.guided[i])
        row.append(Picture(image_png(cam), say("attention.cam.alt", **about), network.predicted[i]))
        row.append(Picture(image_png(guided), say("attention.guided.alt", **about)))
    return tuple(row)


def overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Cover a grey image `[*space, c]` with colour where `cam`, `[*space]`, is high.

    All values are in [0, 1]. The grey image is unchanged where `cam` is 0.
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
