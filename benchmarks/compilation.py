"""How long the training step of each proxy task takes to trace and to compile.

    python -m benchmarks.compilation [--repeats=3] [--spaces=32x32x3,64x64x3,16x48x48x1]

Every repeat compiles every program once, in turns, without programs that were kept before.
"kernels" counts the fused kernels of the compiled program; on a CPU each is compiled on its own.
The last column leaves Winograd's form of a convolution out. Prints a table and writes
compilation.json.
"""

import argparse
import re
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest import mock

import jax

from assl_jax.models.cpu import convolution
from assl_jax.tasks import TASKS
from benchmarks.programs import step_of
from benchmarks.side_by_side import table, write

BATCH = 8
FUSION = re.compile(r" fusion\(")


BEST_FORM: Callable[..., str] = convolution.best_form


def without_winograd(*shapes: Any) -> str:
    """The form of a convolution, and the plain one in place of Winograd's."""
    form = BEST_FORM(*shapes)
    return "direct" if form == "winograd" else form


def timed(task: str, space: tuple[int, ...], network: dict) -> tuple[float, float, int]:
    """Seconds of tracing and of compiling, and the number of kernels."""
    jax.clear_caches()
    shape, platform = (BATCH, *space), jax.default_backend()
    step, shapes = step_of(task, jax.devices()[:1], shape, network, platform)
    began = time.perf_counter()
    traced = step.lower(*shapes)
    between = time.perf_counter()
    program = traced.compile()
    ended = time.perf_counter()
    return between - began, ended - between, len(FUSION.findall(program.as_text()))


def measure(
    tasks: list[str], spaces: list[tuple[int, ...]], network: dict, repeats: int
) -> list[dict[str, Any]]:
    """One row for each task and image size."""
    rows = []
    for space in spaces:
        for task in tasks or [n for n, t in TASKS.items() if len(space) - 1 in t.ranks]:
            found: list[tuple] = []
            for _ in range(repeats):
                best = timed(task, space, network)
                with mock.patch.object(convolution, "best_form", without_winograd):
                    plain = timed(task, space, network)
                found.append((*best, plain[1]))
            tracing, compiling, kernels, plainly = zip(*found, strict=True)
            rows.append(
                {
                    "images": "x".join(map(str, space)),
                    "task": task,
                    "kernels": kernels[0],
                    "tracing (s)": median(tracing),
                    "compiling (s)": median(compiling),
                    "spread (s)": max(compiling) - min(compiling),
                    "without Winograd (s)": median(plainly),
                }
            )
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--spaces", default="32x32x3,64x64x3,16x48x48x1")
    parser.add_argument("--tasks", help="by default all that suit the images")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--json", default="compilation.json")
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    spaces = [tuple(map(int, space.split("x"))) for space in args.spaces.split(",")]
    network = {"name": args.backbone, "width": args.width}
    rows = measure(args.tasks.split(",") if args.tasks else [], spaces, network, args.repeats)
    write(args.json, rows, batch=BATCH, **network)
    print("\n" + table(rows))
    print(f"\nMedian: {median(row['compiling (s)'] for row in rows):.1f} s a program")


if __name__ == "__main__":
    main()
