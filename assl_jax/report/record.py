"""What a report is made from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from assl_jax.evaluation.embedding import Embedding
from assl_jax.evaluation.gradcam import Attention
from assl_jax.records import LogRecord, Results, StageRecord
from assl_jax.report.names import Label


class TaskExamples(NamedTuple):
    """What one proxy task shows the network.

    Attributes:
      originals: `[r, *space, c]` images in [0, 1]; c is 1 or 3.
      inputs: `[r, v, *space, c]`, the v views of each image, in [0, 1].
      captions: one line per image.
    """

    originals: np.ndarray
    inputs: np.ndarray
    captions: list[str]


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report shows about a run.

    Attributes:
      results: what the run found.
      config: its settings, nested.
      environment: versions, devices, commit and command; flat.
      metrics: the logged records of its stages.
      stages: its finished stages, in the order in which they ran.
      labels: what their networks are, by the label that metrics and stages have.
      examples: by proxy task.
      attention: Grad-CAM of some test images, or None.
      embedding: test images as the kept network sees them, or None.
    """

    results: Results
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: list[LogRecord] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    examples: dict[str, TaskExamples] = field(default_factory=dict)
    attention: Attention | None = None
    embedding: Embedding | None = None


def latest(metrics: Iterable[LogRecord]) -> list[LogRecord]:
    """The valid records, ordered by step.

    A resumed stage logs some steps twice; the last record of a step is valid.
    """
    return sorted({record.key: record for record in metrics}.values(), key=lambda r: r.step)
