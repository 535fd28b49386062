"""Networks on disk: a backbone alone, or a fine-tuned network with its head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn
import numpy as np
from jaxtyping import Float

from assl_jax import records
from assl_jax.data import Dataset
from assl_jax.data.file_reader import FileReader
from assl_jax.errors import InputError, require
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.records import (
    BACKBONE,
    BACKBONE_FOLDER,
    MODEL,
    MODEL_FOLDER,
    BackboneRecord,
    ModelRecord,
    Pool,
    Record,
    Results,
)
from assl_jax.training.checkpoint import load_tree, save_tree

WEIGHTS = "variables"  # folder of the weights, next to the record
T = TypeVar("T", bound=Record)


class Model(NamedTuple):
    """A fine-tuned network: logits are `pooled @ kernel + bias`.

    Attributes:
      kernel, bias: the linear head, divided by the temperature that the network was loaded with.
      intensity: how stored integers become network inputs.
      classes: names, in the order of the logits.
      reader: reads files as images of the data set.
    """

    backbone: nn.Module
    variables: dict[str, Any]
    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    intensity: Intensity
    classes: tuple[str, ...]
    reader: FileReader


def export_backbone(
    folder: Path,
    variables: dict[str, Any],
    *,
    settings: dict[str, Any],
    intensity: Intensity,
    pool: Pool,
) -> None:
    """Write weights, architecture and intensity to `folder`; the record is written last.

    `settings` are arguments of `make_backbone`, and `pool` the proxy tasks.
    """
    record = BackboneRecord(backbone=settings, intensity=intensity, pool=pool)
    _write(folder / BACKBONE, variables, record)


def export_model(
    folder: Path,
    variables: dict[str, Any],
    *,
    settings: dict[str, Any],
    dataset: Dataset,
    number: int = 0,
) -> None:
    """Write a fine-tuned network to `folder`; see `export_backbone`.

    Args:
      variables: `{"params": {"backbone", "heads": {"target"}}, "batch_stats"}`.
      dataset: its classes, intensity, and how its files are read.
      number: of the fine-tuning, from 0. The folder holds one record for all of them.
    """
    record = ModelRecord(
        backbone=settings,
        intensity=dataset.intensity,
        classes=dataset.class_names,
        shape=dataset.images.shape[1:],
        format=dict(dataset.format),
    )
    _write(folder / MODEL, variables, record, number)


def load_backbone(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load the backbone of a finished run or pretraining stage.

    Args:
      folder: the run's `--workdir`, or a pretraining stage.

    Returns:
      module: `module.apply(variables, inputs)` gives the mapping of feature maps, with the entry
        `pooled`. Inputs are `load_intensity(folder)(images)`.
      variables: `{"params", "batch_stats"}` of NumPy arrays; running statistics fit plain images.

    Raises:
      InputError: the folder holds no finished run, or a damaged one.
    """
    record = _read(folder, BACKBONE_FOLDER, BACKBONE, BackboneRecord)
    weights = load_tree(Path(folder) / BACKBONE_FOLDER / WEIGHTS)
    return network_of(record), weights


def load_intensity(folder: str | Path) -> Intensity:
    """How the run turned stored integers into network inputs; raises as `load_backbone` does."""
    return _read(folder, BACKBONE_FOLDER, BACKBONE, BackboneRecord).intensity


def load_model(folder: str | Path, number: int = 0, *, temperature: float = 1.0) -> Model:
    """A fine-tuned network of a fine-tuning stage; raises as `load_backbone` does.

    Args:
      folder: of the stage.
      number: of the fine-tuning, from 0.
      temperature: divides the logits, see `NetworkRecord.temperature`.
    """
    record = _read(folder, MODEL_FOLDER, MODEL, ModelRecord)
    tree = load_tree(Path(folder) / MODEL_FOLDER / _weights(number))
    (head,) = tree["params"]["heads"].values()
    return Model(
        network_of(record),
        {"params": tree["params"]["backbone"], "batch_stats": tree.get("batch_stats", {})},
        head["Dense_0"]["kernel"] / np.float32(temperature),
        head["Dense_0"]["bias"] / np.float32(temperature),
        record.intensity,
        record.classes,
        reader_for(record.shape, record.intensity, record.format),
    )


def reader_for(shape: tuple[int, ...], intensity: Intensity, format: Any) -> FileReader:
    """The reader of files like those of a run, from what its records keep of its images."""
    settings = records.as_settings(format)
    return FileReader(shape=shape, low=intensity.low, high=intensity.high, format=settings)


def load_ensemble(folder: str | Path, *, temperature: float = 1.0) -> list[Model]:
    """All fine-tuned networks that a fine-tuning stage kept; see `load_model`."""
    models = [load_model(folder, temperature=temperature)]
    while (Path(folder) / MODEL_FOLDER / _weights(len(models))).is_dir():
        models.append(load_model(folder, len(models), temperature=temperature))
    return models


def load_models(workdir: Path, results: Results, labels: Sequence[str] = ()) -> dict[str, Model]:
    """Fine-tuned networks of a run, calibrated where the run can, by label.

    Without labels, all networks that were kept are loaded. They keep the order of the results, but
    the variants of a pool stand together, the second run last.

    Raises:
      InputError: an unknown label, or a network that was not kept.
    """
    stages = workdir / results.stages
    if labels:
        chosen = [results.network(label, "--networks") for label in labels]
    else:
        kept = [n for n in results.networks if (stages / n.finetune / MODEL_FOLDER).is_dir()]
        first = {(n.backbone, n.network.members): -i for i, n in enumerate(reversed(kept))}
        chosen = sorted(
            kept,
            key=lambda n: (
                first[n.backbone, n.network.members],
                n.network.objective == "second_run",
            ),
        )
    return {n.label: load_model(stages / n.finetune, temperature=n.temperature) for n in chosen}


def network_of(record: BackboneRecord | ModelRecord) -> nn.Module:
    """The network that a record describes; an `InputError` if it describes none."""
    try:
        return make_backbone(**record.backbone)
    except TypeError as error:
        raise InputError(
            f"backbone={record.backbone} of a record describes no network ({error}); repeat the "
            "command that wrote it"
        ) from error


def _write(path: Path, variables: dict[str, Any], record: Record, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tree(path.parent / _weights(number), variables)
    records.write(path, record)


def _weights(number: int) -> str:
    return f"{WEIGHTS}_{number}" if number else WEIGHTS


def _read(folder: str | Path, kind: str, name: str, record: type[T]) -> T:
    path = Path(folder) / kind / name
    what = "network that was kept" if kind == MODEL_FOLDER else "finished run"
    require(path.is_file(), f"{folder} holds no {what} (no {kind}/{name}); run it first")
    return records.read(path, record)
