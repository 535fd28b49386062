"""Compile the training step of every proxy task for slices of TPUs, without a TPU.

    pip install libtpu==0.0.42.1    # the version that JAX 0.10.2 names in its extra "tpu"
    python -m benchmarks.slices [--slices=v5e:2x4,v5e:16x16] [--space=96x96x3] [--batch=64]

The TPU's compiler is a package, and compiles for a slice that is described by its name. The batch
is split over all chips, as a run splits it; `--batch` is that of one chip. Prints, for one step and
one chip: memory, floating-point operations and bytes as the compiler counts them, the collectives
with the bytes that they exchange, and the time that the chip's limits allow. Writes slices.json.
Nothing runs, so no time is measured but that of the compilation.

The limits are of one TPU v5e chip: 197 TFLOP/s in bfloat16, 819 GB/s of memory, 16 GB, and
1,600 Gbit/s between chips (Google Cloud, "TPU v5e"). A ring sends 2 (n - 1) / n times the bytes of
an all-reduce over n chips and (n - 1) / n times those of an all-gather. "arithmetic and memory" is
the larger of the two times, as if they overlapped.
"""

import argparse
import os
import time

from benchmarks.side_by_side import table, write

# What the compiler's package would ask a TPU's host for.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
FLOPS, MEMORY, BETWEEN = 197e12, 819e9, 1600e9 / 8
SENT = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "all-to-all": 1.0}


def seconds_between(found: dict[str, tuple[int, int]], chips: int) -> float:
    """Seconds that the collectives of a program need on a ring of `chips`."""
    ring = (chips - 1) / chips
    return sum(SENT.get(kind, 1.0) * ring * size for kind, (_, size) in found.items()) / BETWEEN


def measure(
    task_name: str, topology: str, space: tuple[int, ...], batch: int, network: dict
) -> dict:
    """One row: a task's step on a slice."""
    from jax.experimental.topologies import get_topology_desc

    from benchmarks.programs import collectives, step_of

    devices = get_topology_desc(platform="tpu", topology_name=topology).devices
    began = time.perf_counter()
    shape = (batch * len(devices), *space)
    step, shapes = step_of(task_name, devices, shape, network, "tpu")
    program = step.lower(*shapes).compile()
    took = time.perf_counter() - began
    costs, memory = program.cost_analysis(), program.memory_analysis()
    found = collectives(program.as_text())
    inside = max(costs["flops"] / FLOPS, costs["bytes accessed"] / MEMORY)
    between = seconds_between(found, len(devices))
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "task": task_name,
        "slice": topology,
        "chips": len(devices),
        "memory (GB)": (kept + memory.temp_size_in_bytes) / 1e9,
        "work (GFLOP)": costs["flops"] / 1e9,
        "accessed (GB)": costs["bytes accessed"] / 1e9,
        "collectives": ", ".join(f"{n} {kind}" for kind, (n, _) in sorted(found.items())),
        "exchanged (MB)": sum(size for _, size in found.values()) / 1e6,
        "arithmetic and memory (ms)": 1e3 * inside,
        "between chips (ms)": 1e3 * between,
        "compilation (s)": took,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", default="v5e:2x4,v5e:16x16")
    parser.add_argument("--tasks", help="by default all that suit the images")
    parser.add_argument("--space", default="96x96x3", help="an image's shape, channels last")
    parser.add_argument("--batch", type=int, default=64, help="images of one chip")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--json", default="slices.json")
    args = parser.parse_args()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    from assl_jax.tasks import TASKS

    space = tuple(map(int, args.space.split("x")))
    network = {"name": args.backbone, "dtype": args.dtype}
    every = [name for name, task in TASKS.items() if len(space) - 1 in task.ranks]
    rows = []
    for task in args.tasks.split(",") if args.tasks else every:
        for topology in args.slices.split(","):
            rows.append(measure(task, topology, space, args.batch, network))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    write(args.json, rows, space=space, batch=args.batch, **network)
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
