"""From a typed config and its data to studies, one for each backbone."""

import dataclasses
from pathlib import Path

from assl_jax.config import RunConfig
from assl_jax.data import Dataset
from assl_jax.interop.start import TEACHERS, read_start
from assl_jax.models import BackboneSettings
from assl_jax.strategies.setup import Given, Setup
from assl_jax.strategies.stages import StageCache
from assl_jax.strategies.study import Study
from assl_jax.tasks import ProxyTask, make_task
from assl_jax.training.checkpoint import tree_digest
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh
from assl_jax.training.trackers import trackers_of


def studies_of(config: RunConfig, dataset: Dataset, stages: StageCache) -> list[Study]:
    """One study for each backbone; images and stages are shared.

    Args:
      config: with the values in force, see `RunConfig.in_force`.
      dataset: images and labels.
      stages: the cache.
    """
    images = Feed(dataset.images, make_mesh(), config.images_on)
    tasks = {name: _fitted(config.task[name], dataset) for name in config.pool}
    backbones = config.backbones(dataset.space)

    def given(path: str | Path, backbone: BackboneSettings, setting: str) -> Given:
        size = {"rank": len(dataset.space), "channels": dataset.channels}
        variables = read_start(path, backbone.module(), **size, setting=setting)
        return Given(variables=variables, digest=tree_digest(variables).hex())

    return [
        Study(
            Setup(
                dataset=dataset,
                images=images,
                backbone=backbone.module(),
                # A list, as JSON gives it back to `load_backbone`.
                backbone_settings={**vars(backbone), "delay": list(backbone.delay)},
                start=given(config.init.path, backbone, "init.path") if config.init.path else None,
                teachers={
                    name: given(path, backbone, f"{TEACHERS}={name}")
                    for name, path in config.teachers.items()
                },
                tasks=tasks,
                similarity=config.similarity,
                distil=config.distil,
                seed=config.seed,
                stages=stages,
                prefix=backbone.name if len(backbones) > 1 else "",
                eval_batch_size=config.eval_batch_size,
                checkpoint_every=config.checkpoint_every,
                log_every=config.log_every,
                log_to=trackers_of(config.log_to),
            ),
            config.pretrain,
            config.target,
            config.search.metric,
            config.cross_validated,
            config.search.rungs if config.experiment == "mtassl" else (),
        )
        for backbone in backbones
    ]


def _fitted(task: ProxyTask, dataset: Dataset) -> ProxyTask:
    """A task for the intensities of a data set."""
    settings = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    return make_task(task.name, **settings | {"intensity": dataset.intensity})
