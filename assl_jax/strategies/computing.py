"""How a stage of each kind is computed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from assl_jax.evaluation.finite import of_network
from assl_jax.records import StageResult
from assl_jax.store import Store
from assl_jax.strategies import comparing, finetuning, pretraining
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import StageSpec
from assl_jax.strategies.study import Study

KINDS: Mapping[str, Callable[[Study, Stages, StageSpec, Path], StageResult]] = {
    "given": pretraining.compute,
    "pretrain": pretraining.compute,
    "finetune": finetuning.compute,
    "rate": finetuning.compute,
    "select": finetuning.compute,
    "features": comparing.compute_features,
    "probe": comparing.compute_probe,
}


def stages_of(studies: Sequence[Study], store: Store, *, reuse_settings: bool = False) -> Stages:
    """The stages of some studies with different backbones, which share a store.

    A stage raises `InputError` for a network whose numbers are not finite.
    """
    by_name = {study.name: study for study in studies}

    def compute(spec: StageSpec, folder: Path) -> StageResult:
        study = by_name[spec.backbone]
        with of_network(study.words(spec.network)):
            return KINDS[spec.kind](study, stages, spec, folder)

    stages = Stages(store, compute, reuse_settings)
    return stages
