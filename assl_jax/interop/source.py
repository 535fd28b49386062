"""What a run keeps, as the thing that is exported."""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from assl_jax import records
from assl_jax.data.file_reader import FileReader
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.export import load_backbone, load_model
from assl_jax.interop.weights import Head, Variables
from assl_jax.ops.intensity import Intensity
from assl_jax.records import (
    BackboneRecord,
    Evaluation,
    Finetuned,
    ModelRecord,
    NetworkRecord,
    Pool,
    Results,
    StageRecord,
)


class Source(NamedTuple):
    """A network of a run.

    Attributes:
      label: in the run, such as `rotation+src`.
      results: of the run.
      pool: the proxy tasks; empty without pretraining.
      settings: keyword arguments of `make_backbone`.
      backbone, variables: the network and its `{"params", "batch_stats"}`.
      head: of a fine-tuned network; None for a backbone alone.
      classes: in the order of the logits; empty for a backbone alone.
      intensity: how stored values become network inputs.
      reader: reads files as images of the run.
      evaluation: of the network after fine-tuning; None if the run does not know it.
      training: settings of its pretraining, as its stage holds them; empty for a teacher, and None
        without a pretraining.
      temperature: that the head was divided by; None if it is as it was trained.
    """

    label: str
    results: Results
    pool: Pool
    settings: dict[str, Any]
    backbone: nn.Module
    variables: Variables
    head: Head | None
    classes: tuple[str, ...]
    intensity: Intensity
    reader: FileReader
    evaluation: Evaluation | None
    training: dict[str, Any] | None = None
    temperature: float | None = None

    @property
    def space(self) -> tuple[int, ...]:
        """Shape of an image of the run."""
        return self.results.space

    @property
    def channels(self) -> int:
        """Channels of an image of the run."""
        return self.reader.shape[-1]

    @property
    def record(self) -> dict[str, Any]:
        """What a file says about its weights."""
        means = self.intensity
        return {
            "network": self.label,
            "pool": list(self.pool),
            "backbone": self.settings,
            "classes": list(self.classes),
            "temperature": self.temperature,
            "space": list(self.space),
            "channels": self.channels,
            "intensity": {
                "low": means.low,
                "high": means.high,
                "mean": list(means.mean),
                "std": list(means.std),
            },
        }


def read_source(workdir: Path, network: str = "", *, raw: bool = False) -> Source:
    """The network of a finished run.

    Args:
      workdir: of the run.
      network: label of a network whose fine-tuned form is exported with its head; "" takes the
        pretrained backbone that the run ended with.
      raw: whether the head stays as it was trained, without the temperature of its network.

    Raises:
      InputError: no finished run, one of an earlier version, no backbone of its own, or an unknown
        network.
    """
    path = workdir / records.RESULTS
    require(path.exists(), f"{workdir} holds no finished run (no {records.RESULTS}); run it first")
    results = records.read(path, Results)
    networks = {each.label: each for each in results.networks}
    if network:
        found = lookup(networks, network, "--network")
        folder = workdir / results.stages / found.finetune
        found = found.replace(calibration=None) if raw else found
        model = load_model(folder, temperature=found.temperature)
        own = records.read(folder / records.MODEL_FOLDER / records.MODEL, ModelRecord)
        head = Head(model.kernel, model.bias)
        source = Source(
            network,
            results,
            found.pool,
            own.backbone,
            model.backbone,
            model.variables,
            head,
            model.classes,
            model.intensity,
            model.reader if model.reader.shape else _reader(results, model.intensity),
            _evaluation(folder),
            _training(workdir, results, found),
            found.temperature if found.calibration else None,
        )
    else:
        folder = workdir / records.BACKBONE_FOLDER
        kept = results.kept
        none = "keeps no backbone of its own"
        if kept and not kept.pool:
            none = f"kept the network {kept.label!r}, which this run did not pretrain"
        require(
            (folder / records.BACKBONE).exists(),
            f"{workdir} {none}; choose one of its networks with "
            f"--network=LABEL ({', '.join(networks)})",
        )
        pretrained = records.read(folder / records.BACKBONE, BackboneRecord)
        module, variables = load_backbone(workdir)
        label = kept.label if kept else "+".join(sorted(pretrained.pool)) or "backbone"
        source = Source(
            label,
            results,
            pretrained.pool,
            pretrained.backbone,
            module,
            variables,
            None,
            (),
            pretrained.intensity,
            _reader(results, pretrained.intensity),
            results.best.evaluation if results.best else None,
            _training(workdir, results, kept),
        )
    return source


def _reader(results: Results, intensity: Intensity) -> FileReader:
    """How the run read its images, the same for all of its networks."""
    images = results.images
    if images is None:
        raise InputError("the run is of an earlier version; run the same command again")
    return FileReader(
        shape=images.shape,
        low=intensity.low,
        high=intensity.high,
        format=records.as_settings(images.format),
    )


def _training(
    workdir: Path, results: Results, network: NetworkRecord | None
) -> dict[str, Any] | None:
    """The settings of a network's pretraining; None if it has none, or is not known."""
    path = workdir / results.stages / str(network and network.pretrain) / records.DONE
    if not path.exists():
        return None
    return records.read(path, StageRecord).settings.get("training", {})


def _evaluation(folder: Path) -> Evaluation | None:
    """The scores of a fine-tuning stage."""
    result = records.read(folder / records.DONE, StageRecord).result
    return result.evaluation if isinstance(result, Finetuned) else None
