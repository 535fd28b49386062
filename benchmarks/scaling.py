"""What the devices of a training step exchange: compiled for 1 to 8 devices, and modelled for more.

    python -m benchmarks.scaling [--tasks=rotation,simclr] [--space=32x32x3] [--batch=8]

The step is compiled for 1, 2, 4 and 8 devices of a CPU, with `--batch` images on each; nothing
runs. The first table compares the bytes of its collectives with a model:

- gradients: 4 bytes for each parameter. Those of BatchNorm's scale and bias are the two sums that
  its own gradient needs, so these cost nothing more;
- BatchNorm: mean and variance, 8 bytes for each channel;
- SimCLR's negatives: the projections of all images in two views, once to compare and once for the
  gradient. They alone grow with the number of devices.

The second table puts the model on slices of TPU v5e chips: ResNet-18, 96x96, 64 images a chip. The
time of one chip's arithmetic and memory, and that of bytes between chips, are those of
`benchmarks.slices`. Each collective takes a further time to start. Writes scaling.json.
"""

import argparse
import os
from typing import Any

from benchmarks.side_by_side import table, write
from benchmarks.slices import seconds_between

LARGE = (8, 64, 512)
STARTS = (5e-6, 20e-6)  # seconds until a collective begins to send
CHIP_BATCH = 64
# From `benchmarks.slices` on 8 chips: seconds of one chip's work, and number of collectives.
ON_A_CHIP = {"rotation": (8.4e-3, 52), "simclr": (5.5e-3, 63)}


def modelled(parameters: int, channels: int, projections: int, devices: int) -> int:
    """Bytes that the collectives of a step result in on each device.

    Args:
      parameters: of backbone and head.
      channels: of all BatchNorm layers.
      projections: numbers in the projections of all images of all devices; 0 without negatives.
      devices: among which the batch is split.
    """
    return 4 * parameters + 8 * channels + 8 * projections if devices > 1 else 0


def sizes(task_name: str, space: tuple[int, ...], network: dict) -> tuple[int, int, int]:
    """Parameters, BatchNorm channels, and projected numbers for each image."""
    import jax

    from benchmarks.programs import initial

    task, _, _, state = initial(task_name, (2, *space), network)
    parameters, statistics = (
        sum(a.size for a in jax.tree.leaves(tree)) for tree in (state.params, state.batch_stats)
    )
    return parameters, statistics // 2, 2 * task.width if task_name == "simclr" else 0


def compiled(
    task: str, space: tuple[int, ...], batch: int, network: dict, devices: int
) -> tuple[int, int]:
    """Number of collectives of a compiled step, and the bytes of their results."""
    import jax

    from benchmarks.programs import collectives, step_of

    shape = (batch * devices, *space)
    step, shapes = step_of(task, jax.devices()[:devices], shape, network, "cpu")
    quick = {"xla_backend_optimization_level": 0}  # the collectives are the same
    program = step.lower(*shapes).compile(compiler_options=quick)
    found = collectives(program.as_text()).values()
    return sum(count for count, _ in found), sum(size for _, size in found)


def compare(
    tasks: list[str], devices: list[int], space: tuple[int, ...], batch: int, network: dict
) -> list[dict[str, Any]]:
    """The first table."""
    rows = []
    for task in tasks:
        parameters, channels, projected = sizes(task, space, network)
        for n in devices:
            count, measured = compiled(task, space, batch, network, n)
            model = modelled(parameters, channels, projected * batch * n, n)
            rows.append(
                {
                    "task": task,
                    "devices": n,
                    "collectives": count,
                    "compiled (MB)": measured / 1e6,
                    "modelled (MB)": model / 1e6,
                    "compiled / modelled": measured / model if model else None,
                }
            )
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def predict() -> list[dict[str, Any]]:
    """The second table: the share of a step in which a chip computes."""
    rows = []
    for task, (seconds, collectives) in ON_A_CHIP.items():
        parameters, channels, projected = sizes(task, (96, 96, 3), {"name": "resnet18"})
        for n in LARGE:
            negatives = projected * CHIP_BATCH * n
            reduced = modelled(parameters, channels, negatives // 2, n)
            found = {"all-reduce": (1, reduced), "all-gather": (1, 4 * negatives)}
            between = seconds_between(found, n)
            row: dict[str, Any] = {"task": task, "chips": n, "bytes (ms)": 1e3 * between}
            for start in STARTS:
                step = seconds + between + collectives * start
                row[f"efficiency, {1e6 * start:g} µs to start (%)"] = 100 * seconds / step
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="rotation,simclr")
    parser.add_argument("--devices", default="1,2,4,8")
    parser.add_argument("--space", default="32x32x3")
    parser.add_argument("--batch", type=int, default=8, help="images of one device")
    parser.add_argument("--backbone", default="resnet10")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--json", default="scaling.json")
    args = parser.parse_args()
    devices = [int(n) for n in args.devices.split(",")]
    forced = f"--xla_force_host_platform_device_count={max(devices)}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {forced}".strip()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    space = tuple(map(int, args.space.split("x")))
    network = {"name": args.backbone, "width": args.width}
    rows = compare(args.tasks.split(","), devices, space, args.batch, network)
    large = predict()
    write(args.json, rows, space=space, batch=args.batch, large=large, **network)
    print(f"\n{table(rows)}\n\n{table(large)}")


if __name__ == "__main__":
    main()
