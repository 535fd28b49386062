"""From a typed config and its data to studies, one for each backbone."""

import dataclasses
from pathlib import Path

from assl_jax.config import RunConfig
from assl_jax.data import Dataset
from assl_jax.interop.start import TEACHERS, read_start
from assl_jax.models import BackboneSettings
from assl_jax.records import START
from assl_jax.strategies.study import Given, Study
from assl_jax.tasks import ProxyTask, make_task
from assl_jax.training.checkpoint import tree_digest
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh
from assl_jax.training.trackers import trackers_of


def studies_of(config: RunConfig, dataset: Dataset) -> list[Study]:
    """One study for each backbone, with the same images.

    Args:
      config: with the values in force, see `RunConfig.in_force`.
      dataset: images and labels.
    """
    images = Feed(dataset.images, make_mesh(), config.images_on)
    tasks = {name: _fitted(config.task[name], dataset) for name in config.pool}
    weights: dict[str, tuple[str | Path, str]] = {
        name: (path, f"{TEACHERS}={name}") for name, path in config.teachers.items()
    }
    if config.init.path:
        weights[START] = config.init.path, "init.path"
    backbones = config.backbones(dataset.space)
    return [
        Study(
            dataset=dataset,
            images=images,
            backbone=backbone.module(),
            # A list, as JSON gives it back to `load_backbone`.
            backbone_settings={**vars(backbone), "delay": list(backbone.delay)},
            tasks=tasks,
            pretrain=config.pretrain,
            distil=config.distil,
            penalty=config.self_assl.second.penalty,
            target=config.target,
            similarity=config.similarity,
            student=config.student,
            seed=config.seed,
            metric=config.search.metric,
            cross_validated=config.cross_validated,
            rungs=config.search.rungs if config.experiment == "mtassl" else (),
            given={
                name: _given(path, backbone, dataset, setting)
                for name, (path, setting) in weights.items()
            },
            prefix=backbone.name if len(backbones) > 1 else "",
            eval_batch_size=config.eval_batch_size,
            checkpoints=config.checkpoints,
            log_every=config.log_every,
            log_to=trackers_of(config.log_to),
        )
        for backbone in backbones
    ]


def _fitted(task: ProxyTask, dataset: Dataset) -> ProxyTask:
    """A task for the intensities of a data set."""
    settings = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    return make_task(task.name, **settings | {"intensity": dataset.intensity})


def _given(path: str | Path, backbone: BackboneSettings, dataset: Dataset, setting: str) -> Given:
    """Weights of a file or a run, for a backbone of these settings and the images of `dataset`."""
    size = {"rank": len(dataset.space), "channels": dataset.channels}
    variables = read_start(path, backbone.module(), **size, setting=setting)
    return Given(variables=variables, digest=tree_digest(variables).hex())
