"""The files that a run leaves, as typed records: results, stages, networks, the log.

Each record is declared here once. Strategies fill it; the report and the commands read its
attributes. Reading checks every field, so that a damaged file is one clear line and never a wrong
table.
"""

from assl_jax.records.base import (
    BACKBONE,
    BACKBONE_FOLDER,
    CONFIG,
    DONE,
    ENVIRONMENT,
    MODEL,
    MODEL_FOLDER,
    PROBES,
    RESULTS,
    VERSION,
    Pool,
    Record,
    as_settings,
    encode,
    flat_settings,
    read,
    read_settings,
    write,
)
from assl_jax.records.data import DataSummary, Split
from assl_jax.records.evaluation import Estimate, Evaluation
from assl_jax.records.network import SCRATCH, START, Network, ending
from assl_jax.records.results import (
    Calibration,
    Correlation,
    Findings,
    NetworkRecord,
    OperatingPoint,
    Probed,
    Probes,
    Results,
    SelfASSL,
    SelfASSLGroup,
    SelfASSLRow,
    StartWeights,
)
from assl_jax.records.search import (
    Best,
    Extension,
    Iteration,
    Move,
    Round,
    Rung,
    Search,
    Similarity,
    Standing,
)
from assl_jax.records.stages import (
    HELD_OUT,
    BackboneRecord,
    Features,
    LogRecord,
    ModelRecord,
    Predicted,
    Pretrained,
    Probe,
    StageRecord,
    StageResult,
)
