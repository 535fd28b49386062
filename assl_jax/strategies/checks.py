"""Mistakes that would otherwise appear late, found before anything is trained or written."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from assl_jax.data.memory import afford
from assl_jax.errors import lookup, require
from assl_jax.models.contract import check_backbone
from assl_jax.models.heads import flatten_views
from assl_jax.strategies.finetuning import on_folds
from assl_jax.strategies.study import Study


def check(study: Study, *, pretrains: bool = True) -> None:
    """Check a study's settings against its data and its devices.

    Args:
      study: the study.
      pretrains: whether a network is pretrained.

    Raises:
      InputError: sizes, folds, devices or layers that do not fit the data.
    """
    _check_batches(study, pretrains=pretrains)
    rows, side = len(study.dataset.unlabeled), min(study.dataset.space)
    shift = study.target.augmentation.shift
    require(
        shift < side,
        f"target.shift={shift} must be below the shortest side of the images, {side}",
    )
    require(rows >= 4, f"similarity needs at least 4 unlabeled images; the data have {rows}")
    maps = check_backbone(study.backbone, _inputs(study, pretrains=pretrains))
    lookup(maps, study.similarity.layer, "similarity.layer")
    lookup(maps, study.penalty.layer, "self_assl.layer")
    on_folds(study)


def _check_batches(study: Study, *, pretrains: bool) -> None:
    images, mesh, rows = study.dataset.images, study.images.mesh, len(study.dataset.unlabeled)
    training, tasks = study.pretrain.training, len(study.tasks)
    require(
        not pretrains or training.batch_size <= rows,
        f"pretrain.batch_size={training.batch_size} is larger than the data ({rows} unlabeled "
        "images); use a smaller one",
    )
    training.check(mesh, "pretrain.")
    require(
        study.pretrain.mixing != "joint" or training.batch_size >= 2 * tasks,
        f"pretrain.batch_size={training.batch_size} must be at least {2 * tasks}: "
        f"pretrain.mixing=joint divides a batch among up to {tasks} tasks",
    )
    study.target.training.check(mesh, "target.")
    batches = {
        "target.batch_size": study.target.training.batch_size,
        "eval_batch_size": study.eval_batch_size,
    }
    image_bytes = 4.0 * math.prod(images.shape[1:])
    for name, size in batches.items():
        require(size >= 1, f"{name}={size} must be at least 1")
        afford(size * image_bytes, f"{name}={size}", "lower it")


def _inputs(study: Study, *, pretrains: bool) -> list[Any]:
    """Shapes of whole images, and of the smallest inputs of a task."""
    images, rank = study.dataset.images, len(study.dataset.space)
    example = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
    inputs: list[Any] = [jax.ShapeDtypeStruct(example.shape, jnp.float32)]
    for task in study.tasks.values() if pretrains else ():
        task.check_rank(rank)
        batch = jax.eval_shape(task.make_batch, jax.random.key(0), example)
        inputs.append(jax.eval_shape(flatten_views, batch.inputs))
        task.label_table(rank)
    return [inputs[0], min(inputs, key=lambda x: math.prod(x.shape[1:]))]
