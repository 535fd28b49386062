"""What would fail late, found before anything is trained or written."""

import jax
import jax.numpy as jnp

from assl_jax.errors import lookup, require
from assl_jax.strategies.finetuning import fold_runs
from assl_jax.strategies.study import Study
from assl_jax.training.penalty import Penalty


def check(study: Study, penalty: Penalty) -> None:
    """Raise `InputError` for sizes, folds, devices and layers that do not fit the data."""
    rows, images, mesh = len(study.dataset.unlabeled), study.dataset.images, study.images.mesh
    batch_size, n = study.pretraining.batch_size, min(study.similarity.n, rows)
    require(
        batch_size <= rows,
        f"pretrain.batch_size={batch_size} is larger than the data ({rows} unlabeled images); "
        "use a smaller one",
    )
    study.pretraining.check(mesh, "pretrain.")
    study.target.training.check(mesh, "target.")
    require(study.target.seeds >= 1, f"target.seeds={study.target.seeds} must be at least 1")
    require(
        study.eval_batch_size >= 1, f"eval_batch_size={study.eval_batch_size} must be at least 1"
    )
    require(n >= 4, f"similarity.n={study.similarity.n}: at least 4 images must be compared")
    example = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
    for task in study.tasks.values():
        jax.eval_shape(task.make_batch, jax.random.key(0), example)
        task.label_table(len(study.dataset.space))
    maps = jax.eval_shape(
        lambda x: study.backbone.init_with_output(jax.random.key(0), x)[0],
        jax.ShapeDtypeStruct(example.shape, jnp.float32),
    )
    lookup(maps, study.similarity.layer, "similarity.layer")
    lookup(maps, penalty.layer, "self_assl.layer")
    fold_runs(study.dataset, study.target, study.seed)
