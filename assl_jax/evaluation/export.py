"""Networks on disk, and back: a backbone alone, or with the head that it was fine-tuned with."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from jaxtyping import Float

from assl_jax.errors import require
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.training.checkpoint import load_tree, save_tree

META = "backbone.json"
MODEL_META = "model.json"


class Model(NamedTuple):
    """A fine-tuned network: logits are `pooled @ kernel + bias`.

    Attributes:
      backbone, variables: the module and its `{"params", "batch_stats"}`.
      kernel, bias: the linear head.
      intensity: how stored integers become network inputs.
      classes: names, in the order of the logits.
    """

    backbone: nn.Module
    variables: dict[str, Any]
    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    intensity: Intensity
    classes: list[str]


def export_backbone(
    folder: Path,
    variables: dict[str, Any],
    *,
    settings: dict[str, Any],
    intensity: Intensity,
    pool: Sequence[str],
) -> None:
    """Write weights, architecture and intensity to `folder`; the last file makes it complete."""
    _write(folder, META, variables, backbone=settings, intensity=intensity, pool=list(pool))


def export_model(
    folder: Path,
    variables: dict[str, Any],
    *,
    settings: dict[str, Any],
    intensity: Intensity,
    classes: Sequence[str],
) -> None:
    """Write a fine-tuned network to `folder`: as `export_backbone`, with the head in `variables`.

    Args:
      variables: `{"params": {"backbone", "heads": {"target"}}, "batch_stats"}`.
    """
    _write(
        folder, MODEL_META, variables, backbone=settings, intensity=intensity, classes=list(classes)
    )


def load_backbone(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The backbone that a run left behind.

    Args:
      folder: the run's `--workdir`, or a pretraining stage.

    Returns:
      module: `module.apply(variables, inputs)` gives the mapping of feature maps, `pooled` among
        them. Inputs are `load_intensity(folder)(images)`.
      variables: `{"params", "batch_stats"}` of NumPy arrays; running statistics fit plain images.

    Raises:
      InputError: the folder holds no finished run.
    """
    module = make_backbone(**_read(folder, "backbone", META)["backbone"])
    return module, load_tree(Path(folder) / "backbone" / "variables")


def load_intensity(folder: str | Path) -> Intensity:
    """How the run turned stored integers into network inputs; raises as `load_backbone` does."""
    return _intensity(_read(folder, "backbone", META))


def load_model(folder: str | Path) -> Model:
    """The fine-tuned network of a fine-tuning stage; raises as `load_backbone` does."""
    meta = _read(folder, "model", MODEL_META)
    tree = load_tree(Path(folder) / "model" / "variables")
    (head,) = tree["params"]["heads"].values()
    return Model(
        make_backbone(**meta["backbone"]),
        {"params": tree["params"]["backbone"], "batch_stats": tree["batch_stats"]},
        head["Dense_0"]["kernel"],
        head["Dense_0"]["bias"],
        _intensity(meta),
        meta["classes"],
    )


def _write(
    folder: Path, name: str, variables: dict[str, Any], *, intensity: Intensity, **meta: Any
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_tree(folder / "variables", variables)
    text = json.dumps({**meta, "intensity": dataclasses.asdict(intensity)}, indent=2)
    temporary = folder / f".{name}"
    temporary.write_text(text + "\n")
    temporary.replace(folder / name)


def _read(folder: str | Path, kind: str, name: str) -> dict[str, Any]:
    path = Path(folder) / kind / name
    require(path.is_file(), f"{folder} holds no finished run (no {kind}/{name}); run it first")
    return json.loads(path.read_text())


def _intensity(meta: dict[str, Any]) -> Intensity:
    fields = meta["intensity"]
    return Intensity(
        low=fields["low"],
        high=fields["high"],
        mean=tuple(fields["mean"]),
        std=tuple(fields["std"]),
    )
