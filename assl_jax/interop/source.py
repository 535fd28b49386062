"""What a run keeps, as the thing that is exported."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import flax.linen as nn

from assl_jax import records
from assl_jax.data.file_reader import FileReader
from assl_jax.errors import InputError, require
from assl_jax.evaluation import stored
from assl_jax.evaluation.export import load_backbone, load_model, reader_for
from assl_jax.interop.weights import Head, Variables
from assl_jax.ops.intensity import Intensity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A network of a run: a pretrained backbone alone, or fine-tuned with its head.

    Attributes:
      label: in the run, such as `rotation+src`.
      pool: the proxy tasks; empty without pretraining.
      settings: keyword arguments of `make_backbone`.
      reader: reads files as images of the run.
      evaluation: of the network after fine-tuning; None if the run does not know it.
      training: settings of its pretraining, as its stage holds them; empty for a teacher, and None
        without a pretraining.
      classes: in the order of the logits; empty without a head.
      temperature: that the head was divided by; None if it is as it was trained.
    """

    label: str
    results: records.Results
    pool: records.Pool
    settings: dict[str, Any]
    backbone: nn.Module
    variables: Variables
    intensity: Intensity
    reader: FileReader
    evaluation: records.Evaluation | None
    training: dict[str, Any] | None
    head: Head | None = None
    classes: tuple[str, ...] = ()
    temperature: float | None = None

    @property
    def file(self) -> str:
        """The default name of its files without a suffix: of its backbone, or with its head."""
        name = re.sub(r"[^\w.+-]", "_", self.label)
        return f"{name}.finetuned" if self.head else name

    @property
    def record(self) -> dict[str, Any]:
        """What a file says about its weights."""
        *space, channels = self.reader.shape
        return {
            "network": self.label,
            "pool": list(self.pool),
            "backbone": self.settings,
            "classes": list(self.classes),
            "temperature": self.temperature,
            "space": space,
            "channels": channels,
            "intensity": dataclasses.asdict(self.intensity),
        }


def read_source(workdir: Path, network: str = "", *, raw: bool = False) -> Source:
    """The network of a finished run.

    Args:
      workdir: of the run.
      network: label of a network whose fine-tuned form is exported with its head; "" takes the
        pretrained backbone that the run ended with.
      raw: whether the head stays as it was trained, without the temperature of its network.
    """
    results = records.read(workdir / records.RESULTS, records.Results)
    if not network:
        return _pretrained(workdir, results)
    found = results.network(network)
    return _finetuned(workdir, results, found.replace(calibration=None) if raw else found)


def _finetuned(workdir: Path, results: records.Results, network: records.NetworkRecord) -> Source:
    """A network with its head."""
    folder = workdir / results.stages / network.finetune
    model = load_model(folder, temperature=network.temperature)
    return Source(
        label=network.label,
        results=results,
        pool=network.network.members,
        settings=records.read(
            folder / records.MODEL_FOLDER / records.MODEL, records.ModelRecord
        ).backbone,
        backbone=model.backbone,
        variables=model.variables,
        intensity=model.intensity,
        reader=model.reader,
        evaluation=stored.evaluation(folder),
        training=_training(workdir, results, network),
        head=Head(model.kernel, model.bias),
        classes=model.classes,
        temperature=network.temperature if network.calibration else None,
    )


def _pretrained(workdir: Path, results: records.Results) -> Source:
    """The backbone that the run ended with."""
    images, path = results.images, workdir / records.BACKBONE_FOLDER / records.BACKBONE
    kept, none = results.kept, "keeps no backbone of its own"
    if kept and not kept.network.members:
        none = f"kept the network {kept.label!r}, which this run did not pretrain"
    require(
        path.exists(),
        f"{workdir} {none}; choose one of its networks with "
        f"--network=LABEL ({', '.join(each.label for each in results.networks)})",
    )
    record = records.read(path, records.BackboneRecord)
    if images is None:
        raise InputError("the run is of an earlier version; run the same command again")
    backbone, variables = load_backbone(workdir)
    return Source(
        label=kept.label if kept else "+".join(sorted(record.pool)) or "backbone",
        results=results,
        pool=record.pool,
        settings=record.backbone,
        backbone=backbone,
        variables=variables,
        intensity=record.intensity,
        reader=reader_for(images.shape, record.intensity, images.format),
        evaluation=results.best.evaluation if results.best else None,
        training=_training(workdir, results, kept),
    )


def _training(
    workdir: Path, results: records.Results, network: records.NetworkRecord | None
) -> dict[str, Any] | None:
    """The settings of a network's pretraining; None if it has none, or is not known."""
    path = workdir / results.stages / str(network and network.pretrain) / records.DONE
    if not path.exists():
        return None
    return records.read(path, records.StageRecord).settings.get("training", {})
