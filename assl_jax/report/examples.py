"""What a proxy task shows the network, as images."""

import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.report.record import TaskExamples
from assl_jax.tasks import ProxyTask


def task_examples(task: ProxyTask, images: np.ndarray, *, seed: int = 0) -> TaskExamples:
    """The batch that `task` makes of a few stored `images` `[r, *space, c]`."""
    intensity = task.intensity
    batch = jax.jit(task.make_batch)(jax.random.key(seed), jnp.asarray(images))
    labels = batch.targets if isinstance(batch.targets, jax.Array) else None
    captions = [""] * len(images)
    if labels is not None and labels.ndim == 1:
        captions = [f"class {int(label)}" for label in labels]
    return TaskExamples(
        originals=np.clip(np.asarray(intensity.unit(jnp.asarray(images))), 0, 1),
        inputs=np.asarray(intensity.unstandardise(batch.inputs)),
        captions=captions,
    )
