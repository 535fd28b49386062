"""Grad-CAM and Guided Grad-CAM as a grid of pictures."""

from html import escape

import numpy as np

from assl_jax.evaluation.gradcam import Attention
from assl_jax.report.figures import example_images
from assl_jax.report.html import scroll, soft
from assl_jax.report.record import display_label

STRONGEST = 0.6  # how much of the image a value of 1 covers
CLIPPED = 0.01  # share of the strongest guided gradients that are drawn alike
KINDS = ("Grad-CAM", "Guided")
NOTE = (
    "Grad-CAM: the brighter, the more a network's last convolution stage finds there for the class "
    "that it predicts, which stands below. It is no finer than this stage's map, whose size stands "
    "beside it; a map of a single place cannot say where. Guided Grad-CAM: the pixels that speak "
    "for this class, lighter or darker than grey by the sign of the guided gradient."
)
VOLUMES = "Volumes are shown as their axial, coronal and sagittal middle slices."


def attention_section(shown: Attention | None) -> str:
    """The inside of a section: a row per image, two columns per network; "" for None."""
    if shown is None:
        return ""
    each = range(len(shown.truths))
    table = f"<table>{_head(shown)}<tbody>{''.join(_rows(shown, i) for i in each)}</tbody></table>"
    volumes = shown.originals.ndim == 5
    return soft(f"{NOTE} {VOLUMES}" if volumes else NOTE) + scroll(table, "Grad-CAM")


def _head(shown: Attention) -> str:
    names = "".join(
        f'<th scope="colgroup" colspan="2" class="name">{escape(display_label(network.label))}</th>'
        for network in shown.networks
    )
    kinds = "".join(
        f'<th scope="col" class="name">{KINDS[0]} {"x".join(map(str, network.places))}</th>'
        f'<th scope="col" class="name">{KINDS[1]}</th>'
        for network in shown.networks
    )
    first = '<th scope="col" class="name" rowspan="2">Image</th>'
    return f"<thead><tr>{first}{names}</tr><tr>{kinds}</tr></thead>"


def _rows(shown: Attention, i: int) -> str:
    """The pictures, and below them what each network predicts."""
    image, truth = shown.originals[i], escape(shown.truths[i])
    kind = "example" if image.ndim == 3 else "example volume"
    original, _ = example_images(image, image[None])
    pictures = f'<th scope="row" class="name">{_picture(kind, original, f"Image: {truth}")}</th>'
    words = f'<td class="name">{truth}</td>'
    for network in shown.networks:
        predicted = escape(network.predicted[i])
        about = f"of {escape(display_label(network.label))} for {predicted}"
        pair = overlay(image, network.cams[i]), relief(network.guided[i])[None]
        for name, data in zip(KINDS, example_images(*pair), strict=True):
            pictures += f"<td>{_picture(kind, data, f'{name} {about}')}</td>"
        words += f'<td colspan="2" class="name">{predicted}</td>'
    return f'<tr class="opens">{pictures}</tr><tr>{words}</tr>'


def _picture(kind: str, data: str, alt: str) -> str:
    return f'<figure class="{kind}"><img src="data:image/png;base64,{data}" alt="{alt}"></figure>'


def overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """`[*space, 3]`: the grey image `[*space, c]`, covered with colour where `cam` is high.

    Both in [0, 1]. Where `cam` is 0 the grey image is left as it is.
    """
    import matplotlib

    grey = image.mean(-1, keepdims=True)
    cover = STRONGEST * cam[..., None]
    return (1 - cover) * grey + cover * matplotlib.colormaps["inferno"](cam)[..., :3]


def relief(guided: np.ndarray) -> np.ndarray:
    """Values of both signs to [0, 1] about mid grey, the strongest per cent of them at the ends."""
    strength = np.abs(guided)
    top = np.quantile(strength, 1 - CLIPPED) or strength.max() or 1.0
    return np.clip(0.5 + guided / (2 * top), 0.0, 1.0)
