"""How close the training step of each proxy task comes to the limits of the device.

    python -m benchmarks.roofline [--backbone=resnet18] [--space=96x96x3] [--batch=8]
    python -m benchmarks.roofline --dtype=bfloat16 --batch=128 --product=16384        # on a GPU

Prints a table and writes roofline.json. A step is timed in turns with one large square matrix
product of the same dtype (the peak: the best of several per turn) and with one pass over a large
array (the bandwidth). The work of a step is three times the forward pass of backbone and head
(forward and both gradients), counted by hand from the shapes of all convolutions and matrix
products. The table also shows XLA's own count, from `cost_analysis`. XLA includes augmentation and
optimiser, but counts the body of a loop once and may not see what it hands to a library. The
intensity is XLA's operations per byte. The roof is what peak and bandwidth allow at that intensity.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.models import DTYPES, make_backbone, suggest_delay
from assl_jax.tasks import TASKS, make_task
from assl_jax.training.compute import PASSES, flops_of
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import init_state
from assl_jax.training.step import forward, make_step
from benchmarks.side_by_side import spread, table, write


class Step:
    """The compiled training step of one task."""

    def __init__(self, name: str, network: dict[str, Any], images: np.ndarray) -> None:
        task, optimiser = make_task(name), Optimiser()
        backbone = make_backbone(delay=suggest_delay(images.shape[1:-1]), **network)
        self._state = init_state(jax.random.key(0), backbone, task, optimiser, images)
        self._given = (Examples(jax.device_put(images), None), jax.random.key(1), np.float32(1e-3))
        step: Any = make_step(backbone, task, optimiser)
        # As the loop calls it without a penalty: no frozen network.
        self._run = step.lower(self._state, *self._given, None).compile()
        costs: Any = self._run.cost_analysis()
        self.flops, self.bytes = costs["flops"], costs["bytes accessed"]
        batch = jax.eval_shape(task.make_batch, jax.random.key(0), images)
        self.views = batch.inputs.shape[1:-1]
        state = self._state
        self.work = PASSES * flops_of(
            lambda p, s, b: forward(backbone, task, p, s, b),
            *(state.params, state.batch_stats, batch),
        )

    def __call__(self) -> None:
        self._state, _ = self._run(self._state, *self._given, None)
        jax.block_until_ready(self._state)


def seconds(work: Callable[[], Any]) -> float:
    """Wall time until everything is computed."""
    began = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - began


class Device:
    """The limits of the device: a large product, and a pass over a large array."""

    def __init__(self, size: int, dtype: str, best_of: int) -> None:
        kind = DTYPES[dtype]
        x = jax.random.normal(jax.random.key(0), (size, size)).astype(kind)
        y = jnp.zeros(2 * size * size, kind)
        multiply, add = jax.jit(jnp.matmul), jax.jit(lambda y: y + 1)
        self._work = {"peak": lambda: multiply(x, x), "bandwidth": lambda: add(y)}
        self._amount = {"peak": 2 * size**3, "bandwidth": 2 * y.nbytes}
        self._best_of = best_of
        self.measure()

    def measure(self) -> dict[str, float]:
        """Operations per second (peak) and bytes per second (bandwidth)."""
        return {
            what: self._amount[what] / min(seconds(work) for _ in range(self._best_of))
            for what, work in self._work.items()
        }


def measure(name: str, step: Step, device: Device, repeats: int) -> dict[str, Any]:
    """One row: the step and the device in turns."""
    step()
    turns = [{**device.measure(), "seconds": seconds(step)} for _ in range(repeats)]
    took = spread([turn["seconds"] for turn in turns])
    peak = spread([turn["peak"] for turn in turns])["median"]
    bandwidth = spread([turn["bandwidth"] for turn in turns])["median"]
    share = spread([step.work / turn["seconds"] / turn["peak"] for turn in turns])
    intensity = step.flops / step.bytes
    return {
        "task": name,
        "inputs per image": "x".join(map(str, step.views)),
        "work by hand (GFLOP)": step.work / 1e9,
        "XLA's count (GFLOP)": step.flops / 1e9,
        "accessed (GB)": step.bytes / 1e9,
        "step (ms)": 1e3 * took["median"],
        "quartiles": f"{1e3 * took['low']:.3g} to {1e3 * took['high']:.3g}",
        "reached (GFLOP/s)": step.work / took["median"] / 1e9,
        "peak (GFLOP/s)": peak / 1e9,
        "of the peak (%)": 1e2 * share["median"],
        "intensity (FLOP/byte)": intensity,
        "roof (GFLOP/s)": min(peak, intensity * bandwidth) / 1e9,
        "turns": turns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", help="by default all that suit the images")
    parser.add_argument("--space", default="96x96x3", help="an image's shape, channels last")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--stem", default="imagenet")
    parser.add_argument("--dtype", default="float32", choices=tuple(DTYPES))
    parser.add_argument("--product", type=int, default=0, help="side of the matrices")
    parser.add_argument("--best_of", type=int, default=3, help="products per turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", default="roofline.json")
    args = parser.parse_args()
    shape = (args.batch, *map(int, args.space.split("x")))
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    network = {"name": args.backbone, **{k: getattr(args, k) for k in ("width", "stem", "dtype")}}
    side = args.product or (4096 if jax.default_backend() == "cpu" else 16384)
    device = Device(side, args.dtype, args.best_of)
    rows = []
    every = [name for name, task in TASKS.items() if len(shape) - 2 in task.ranks]
    for name in args.tasks.split(",") if args.tasks else every:
        rows.append(measure(name, Step(name, network, images), device, args.repeats))
        print(_shown(rows[-1:]).splitlines()[-1], flush=True)
    write(args.json, rows, shape=shape, product=side, **network)
    print("\n" + _shown(rows))


def _shown(rows: list[dict[str, Any]]) -> str:
    return table([{k: v for k, v in row.items() if k != "turns"} for row in rows])


if __name__ == "__main__":
    main()
