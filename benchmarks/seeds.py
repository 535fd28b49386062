"""Several fine-tunings in one program: is a step of all of them faster than their steps in turn?

    python -m benchmarks.seeds [--space=32x32x3] [--seeds=3] [--repeats=9]

The seeds of a fine-tuning have networks of one shape, so `jax.vmap` makes one step of their steps.
On a GPU this may fill the device better. Prints a table and writes seeds.json.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.evaluation.classification import Classification
from assl_jax.models import make_backbone, suggest_delay
from assl_jax.models.cpu import compiler_options
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import init_state
from assl_jax.training.step import make_step
from benchmarks.side_by_side import spread, table, write


def programs(shape: tuple[int, ...], network: dict, seeds: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by name; each does one step of every seed.

    Args:
      shape: of a batch, `[b, *space, c]`.
      network: settings of the backbone.
      seeds: number of fine-tunings.
    """
    backbone = make_backbone(**network, delay=suggest_delay(shape[1:-1]))
    task, optimiser = Classification(classes=10), Optimiser()
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    arrays = jnp.asarray(images), jnp.arange(shape[0], dtype=jnp.int32) % 10
    given = [
        (
            init_state(jax.random.key(seed), backbone, task, optimiser, arrays),
            Examples(arrays, None),
            jax.random.key(seed),
        )
        for seed in range(seeds)
    ]
    traced: Any = make_step(backbone, task, optimiser)

    def step(state: Any, examples: Any, key: Any) -> Any:
        return traced.__wrapped__(state, examples, key, jnp.float32(1e-3), None)

    def compiled(function: Callable, *arguments: Any) -> Callable:  # nothing is donated
        options = compiler_options(jax.default_backend())
        return jax.jit(function, compiler_options=options).lower(*arguments).compile()

    one = compiled(step, *given[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    together = compiled(jax.vmap(step), *stacked)
    return {
        "in turn": lambda: [one(*each) for each in given],
        "one program": lambda: together(*stacked),
    }


def measure(work: dict[str, Callable[[], Any]], repeats: int) -> list[dict[str, Any]]:
    """A row for each form, timed in turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, run in work.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            if turn:  # the first one allocates
                times[name].append(1e3 * (time.perf_counter() - began))
    found = {name: spread(each) for name, each in times.items()}
    return [
        {
            "form": name,
            "median (ms)": each["median"],
            "quartiles (ms)": f"{each['low']:.1f} to {each['high']:.1f}",
            "time / in turn": each["median"] / found["in turn"]["median"],
        }
        for name, each in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="32x32x3", help="an image's shape, channels last")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--backbone", default="resnet10")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--stem", default="half")
    parser.add_argument("--json", default="seeds.json")
    args = parser.parse_args()
    shape = (args.batch, *map(int, args.space.split("x")))
    network = {"name": args.backbone, "width": args.width, "stem": args.stem}
    rows = measure(programs(shape, network, args.seeds), args.repeats)
    write(args.json, rows, shape=shape, seeds=args.seeds, **network)
    print(table(rows))


if __name__ == "__main__":
    main()
