"""The files of a stage: its result, its networks, its log."""

import json
from typing import Any

import msgspec

from assl_jax.ops.intensity import Intensity
from assl_jax.records.base import VERSION, Pool, Record
from assl_jax.records.network import Network


class Pretrained(Record, frozen=True, kw_only=True, tag_field="type", tag="pretrained"):
    """Result of a pretraining stage; its files hold the network.

    Attributes:
      flops: floating-point operations of the training, see `training.compute`.
    """

    flops: float | None = None


class Predicted(Record, frozen=True, kw_only=True, tag_field="type", tag="predicted"):
    """Result of fine-tunings: their names; the probabilities are files of the stage."""

    runs: tuple[str, ...]


class Features(Record, frozen=True, kw_only=True, tag_field="type", tag="features"):
    """Result of a feature extraction: the shape `[n, d]` of `features.npy`."""

    n: int
    d: int


class Probe(Record, frozen=True, kw_only=True, tag_field="type", tag="probe"):
    """Result of a cross-validated linear probe: its log loss, None if it is not defined."""

    loss: float | None


StageResult = Pretrained | Predicted | Features | Probe


class StageRecord(Record, frozen=True, kw_only=True):
    """`done.json`: a finished stage.

    Attributes:
      kind: "given", "pretrain", "finetune", "rate", "select", "features" or "probe".
      network: what was trained or looked at.
      label: the network's.
      settings: everything but the code that determines the result.
      code: digest of the source that the stage can reach, see `strategies.identity`.
      commit: of the source tree; "" outside git.
      result: the result; large arrays are files of the stage.
      seconds: how long it took.
      images_per_s: throughput of training.
      peak_host_bytes, peak_device_bytes: see `training.memory`.
      files: digests of the other files of the folder, see `files.digests`; a change is damage.
    """

    kind: str
    network: Network
    label: str
    settings: dict[str, Any]
    code: str
    commit: str
    result: StageResult
    seconds: float
    images_per_s: float | None = None
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None
    files: dict[str, str] = {}
    version: int = VERSION


class BackboneRecord(Record, frozen=True, kw_only=True):
    """`backbone.json`: what the weights of a pretrained backbone belong to.

    Attributes:
      backbone: keyword arguments of `models.make_backbone`.
      intensity: how stored integers become network inputs.
      pool: the proxy tasks and the teachers it was trained with.
    """

    backbone: dict[str, Any]
    intensity: Intensity
    pool: Pool
    version: int = VERSION


class ModelRecord(Record, frozen=True, kw_only=True):
    """`model.json`: what the weights of a fine-tuned network belong to; see `BackboneRecord`.

    Attributes:
      classes: names, in the order of the logits.
      shape: `(*space, c)` of an image; () if an earlier version wrote the record.
      format: how a file becomes an image, see `data.file_reader.FileReader`.
    """

    backbone: dict[str, Any]
    intensity: Intensity
    classes: tuple[str, ...]
    shape: tuple[int, ...] = ()
    format: dict[str, Any] = {}
    version: int = VERSION


HELD_OUT = "held_out"  # `LogRecord.task` of what is measured from outside


class LogRecord(Record, frozen=True, kw_only=True):
    """One line of `metrics.jsonl`.

    Attributes:
      stage: folder of the stage.
      kind, label: of the stage.
      task: the proxy task, "target", "held_out" (measured from outside) or "memory".
      step, steps: steps taken, and in all.
      run: which fine-tuning; "" where there is one training.
      values: what was measured, by name.
    """

    stage: str
    kind: str
    label: str
    task: str
    step: int
    steps: int = 0
    run: str = ""
    values: dict[str, float] = {}

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a record is of: a resumed training repeats steps, and the last record counts."""
        return self.stage, self.run, self.task, self.step

    def to_line(self) -> str:
        """One flat JSON object, the values next to the other fields."""
        flat = msgspec.structs.asdict(self)
        return json.dumps(flat | flat.pop("values"))

    @classmethod
    def from_line(cls, line: str) -> "LogRecord":
        """The inverse of `to_line`. Raises `ValueError` for anything else."""
        try:
            flat = json.loads(line)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(flat, dict):
            raise ValueError("not a JSON object")
        known = {name: flat.pop(name) for name in cls.__struct_fields__ if name in flat}
        return msgspec.convert({**known, "values": flat}, cls)
