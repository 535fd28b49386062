"""The final backbone on disk, and back."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import flax.linen as nn

from assl_jax.errors import require
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.training.checkpoint import load_tree, save_tree

META = "backbone.json"


def export_backbone(
    folder: Path,
    variables: dict[str, Any],
    *,
    settings: dict[str, Any],
    intensity: Intensity,
    pool: list[str],
) -> None:
    """Write weights, architecture and intensity to `folder`; the last file makes it complete."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tree(folder / "variables", variables)
    meta = {"backbone": settings, "intensity": dataclasses.asdict(intensity), "pool": pool}
    temporary = folder / f".{META}"
    temporary.write_text(json.dumps(meta, indent=2) + "\n")
    temporary.replace(folder / META)


def load_backbone(workdir: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The backbone that a run left behind.

    Args:
      workdir: the run's `--workdir`.

    Returns:
      module: `module.apply(variables, inputs)` gives the mapping of feature maps, `pooled` among
        them. Inputs are `load_intensity(workdir)(images)`.
      variables: `{"params", "batch_stats"}` of NumPy arrays; running statistics fit plain images.

    Raises:
      InputError: the folder holds no finished run.
    """
    module = make_backbone(**_meta(workdir)["backbone"])
    return module, load_tree(Path(workdir) / "backbone" / "variables")


def load_intensity(workdir: str | Path) -> Intensity:
    """How the run turned stored integers into network inputs; raises as `load_backbone` does."""
    fields = _meta(workdir)["intensity"]
    return Intensity(
        low=fields["low"],
        high=fields["high"],
        mean=tuple(fields["mean"]),
        std=tuple(fields["std"]),
    )


def _meta(workdir: str | Path) -> dict[str, Any]:
    path = Path(workdir) / "backbone" / META
    require(path.is_file(), f"{workdir} holds no finished run (no backbone/{META}); run it first")
    return json.loads(path.read_text())
