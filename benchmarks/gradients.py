"""Which weights of a backbone a proxy task never trains.

    python -m benchmarks.gradients [--space=32x32x1] [--stem=half]

For every task, the share of the convolutions' weights whose gradient is exactly zero in one batch
of random images. Maps of one position leave most weights of a kernel untrained. ReLUs that are off
in the whole batch count too, so a share of a few percent can be due to the small batch.
"""

import argparse

import jax
import numpy as np

from assl_jax.models import make_backbone, suggest_delay
from assl_jax.tasks import TASKS, make_task
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import init_state
from assl_jax.training.step import forward
from benchmarks.side_by_side import table


def measure(name: str, images: np.ndarray, network: dict) -> dict:
    """The row of a task."""
    task = make_task(name)
    backbone = make_backbone(**network, delay=suggest_delay(images.shape[1:-1]))
    state = init_state(jax.random.key(0), backbone, task, Optimiser(), images)
    batch = jax.jit(task.make_batch)(jax.random.key(1), images)

    def loss(params: dict) -> jax.Array:
        _, outputs, _ = forward(backbone, task, params, state.batch_stats, batch)
        return task.loss(outputs, batch)[0]

    grads = jax.jit(jax.grad(loss))(state.params)["backbone"]
    kernels = [np.asarray(leaf) for leaf in jax.tree.leaves(grads) if leaf.ndim > 2]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    return {
        "task": name,
        "view": "x".join(map(str, batch.inputs.shape[2:-1])),
        "weights without gradient (%)": 100 * zeros / sum(kernel.size for kernel in kernels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="32x32x1", help="an image's shape, channels last")
    parser.add_argument("--tasks", help="by default all that suit the images")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--backbone", default="resnet10")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--stem", default="half")
    args = parser.parse_args()
    shape = (args.batch, *map(int, args.space.split("x")))
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    network = {"name": args.backbone, "width": args.width, "stem": args.stem}
    every = [name for name, task in TASKS.items() if len(shape) - 2 in task.ranks]
    names = args.tasks.split(",") if args.tasks else every
    print(table([measure(name, images, network) for name in names]))


if __name__ == "__main__":
    main()
