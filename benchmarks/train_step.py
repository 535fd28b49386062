"""A training step of ResNet-18 (forward, backward, Adam, BatchNorm) compared with PyTorch's.

    python -m benchmarks.train_step [--shapes=32x32,28x28x28] [--repeats=7] [--dtype=bfloat16]

Prints images/s and ratios, and writes train_step.json. Both libraries start from stored integers on
the device, with one label per image. On a CPU PyTorch runs eagerly, in float32 and in the faster of
its two memory layouts. On a GPU it runs with `torch.compile`, channels last and, for bfloat16,
autocast. Only benchmarks need PyTorch: `pip install -r benchmarks/requirements.txt`.
"""

import argparse
import importlib.util
from collections.abc import Sequence
from typing import Any

from benchmarks.side_by_side import compare, serve, table, write

SHAPES = "32x32,64x64,96x96,28x28x28,16x48x48,64x64x64"
BATCH = {2: 32, 3: 16}  # by rank; 16 is the paper's for brain CT
CLASSES = 10


def of_assl_jax(batch: int, space: Sequence[int], dtype: str, steps: int) -> None:
    """In a worker: our step, as fine-tuning runs it."""
    import jax
    import numpy as np

    from assl_jax.evaluation.classification import Classification
    from assl_jax.models import make_backbone
    from assl_jax.training.feed import Examples
    from assl_jax.training.optimiser import Optimiser
    from assl_jax.training.sharding import make_mesh, replicate, split_batch
    from assl_jax.training.state import init_state
    from assl_jax.training.step import make_step

    images, labels = _examples(batch, space)
    task = Classification(classes=CLASSES)
    backbone = make_backbone(dtype=dtype)
    optimiser = Optimiser()
    mesh = make_mesh(jax.devices()[:1])
    state = init_state(jax.random.key(0), backbone, task, optimiser, (images, labels))
    state = replicate(state, mesh)  # like the state that a step returns, so there is one program
    examples = Examples(jax.tree.map(lambda a: split_batch(a, mesh), (images, labels)), None)
    step = make_step(backbone, task, optimiser)
    key, rate = replicate(jax.random.key(1), mesh), np.float32(1e-3)

    def work() -> None:
        nonlocal state
        for _ in range(steps):
            state, _metrics = step(state, examples, key, rate, None)
        jax.block_until_ready(state)

    serve(work, device=jax.devices()[0].device_kind)


def of_torch(batch: int, space: Sequence[int], dtype: str, steps: int, layout: str) -> None:
    """In a worker: PyTorch's step of the same network."""
    import torch

    from benchmarks.torch_resnet import ResNet, memory_format

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    chosen = memory_format(space) if layout == "channels last" else torch.contiguous_format
    images, labels = _examples(batch, space)
    network = ResNet(len(space), images.shape[-1])
    model: Any = torch.nn.Sequential(network, torch.nn.Linear(512, CLASSES))
    model = model.to(device).to(memory_format=chosen)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    if on_gpu:
        model = torch.compile(model)
        torch.backends.cudnn.benchmark = True
    stored = torch.from_numpy(images).to(device).movedim(-1, 1).contiguous(memory_format=chosen)
    target = torch.from_numpy(labels).long().to(device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")

    def work() -> None:
        for _ in range(steps):
            with half:
                logits = model((stored.float() - 127.5) / 64)
                loss = torch.nn.functional.cross_entropy(logits, target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        if on_gpu:
            torch.cuda.synchronize()

    serve(work, device=torch.cuda.get_device_name() if on_gpu else "cpu")


def _examples(batch: int, space: Sequence[int]) -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *space, 3 if len(space) == 2 else 1), dtype=np.uint8)
    return images, rng.integers(0, CLASSES, batch).astype(np.int32)


def measure(shape: str, batch: int, dtype: str, steps: int, repeats: int) -> dict[str, Any]:
    """Images/s of every program at one shape."""
    space = tuple(map(int, shape.split("x")))
    batch = batch or BATCH[len(space)]
    options = [f"--shapes={shape}", f"--batch={batch}", f"--dtype={dtype}", f"--steps={steps}"]
    programs = ("assl_jax", *(TORCH if importlib.util.find_spec("torch") else ()))
    found = compare(
        {who: ["benchmarks.train_step", f"--worker={who}", *options] for who in programs}, repeats
    )
    speeds = {who: batch * steps / result["median"] for who, result in found.items()}
    theirs = max((speed for who, speed in speeds.items() if who != "assl_jax"), default=None)
    ours = found["assl_jax"]
    return {
        "shape": shape,
        "batch": batch,
        **{f"{who} (images/s)": speeds.get(who) for who in ("assl_jax", *TORCH)},
        "assl_jax / PyTorch": theirs and speeds["assl_jax"] / theirs,
        "spread": (ours["high"] - ours["low"]) / ours["median"],
        "compilation (s)": ours["first"],
        "measured": found,
    }


TORCH = ("PyTorch", "PyTorch channels last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--batch", type=int, default=0, help="images; 0: 32 in 2D, 16 in 3D")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=2, help="steps per measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", default="train_step.json")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        space = tuple(map(int, args.shapes.split("x")))
        given = (args.batch, space, args.dtype, args.steps)
        if args.worker == "assl_jax":
            of_assl_jax(*given)
        else:
            of_torch(*given, layout=args.worker.removeprefix("PyTorch "))
        return
    if not importlib.util.find_spec("torch"):
        print("PyTorch is missing: pip install -r benchmarks/requirements.txt")
    rows = []
    for shape in args.shapes.split(","):
        rows.append(measure(shape, args.batch, args.dtype, args.steps, args.repeats))
        print(table([{k: v for k, v in rows[-1].items() if k != "measured"}]), flush=True)
    write(args.json, rows)
    print("\n" + table([{k: v for k, v in row.items() if k != "measured"} for row in rows]))


if __name__ == "__main__":
    main()
