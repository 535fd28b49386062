"""What a proxy task shows the network, as images."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.report.names import task_title
from assl_jax.report.pictures import image_png, png, shown, strip
from assl_jax.report.record import RunRecord, TaskExamples
from assl_jax.sections import Heading, Part, Picture, Pictures, Text
from assl_jax.tasks import ProxyTask, describe
from assl_jax.words import say


def parts(run: RunRecord) -> Iterator[Part]:
    """For each task what it does, and images with their views."""
    if any(each.originals.ndim == 5 for each in run.examples.values()):
        yield Text((say("planes"),), soft=True)
    for task, examples in run.examples.items():
        volumes, title = examples.originals.ndim == 5, task_title(task)
        few, number = len(shown(examples.inputs[0])), examples.inputs.shape[1]
        views, words = say("examples.views", n=number), [describe(task).summary]
        if few < number:
            views = say("examples.some", few=few, number=number)
            words.append(say("examples.few", views=views))
        original = say("examples.original.volume" if volumes else "examples.original")
        rows = []
        for image, inputs, caption in zip(*examples, strict=True):
            key = "examples.alt.caption" if caption else "examples.alt"
            alt = say(key, task=title, views=views, caption=caption)
            first = Picture(image_png(image), original, caption)
            rows.append((first, Picture(png(strip(inputs)), alt)))
        yield Heading(title)
        yield Text((" ".join(filter(None, words)),), soft=True)
        yield Pictures(tuple(rows), (original, views), title, tall=volumes)


def task_examples(task: ProxyTask, images: np.ndarray, *, seed: int = 0) -> TaskExamples:
    """The batch that `task` makes of a few stored `images` `[r, *space, c]`."""
    intensity = task.intensity
    batch = jax.jit(task.make_batch)(jax.random.key(seed), jnp.asarray(images))
    labels = batch.targets if isinstance(batch.targets, jax.Array) else None
    captions = [""] * len(images)
    if labels is not None and labels.ndim == 1:
        captions = [say("examples.class", number=int(label)) for label in labels]
    return TaskExamples(
        originals=np.clip(np.asarray(intensity.unit(jnp.asarray(images))), 0, 1),
        inputs=np.asarray(intensity.unstandardise(batch.inputs)),
        captions=captions,
    )
