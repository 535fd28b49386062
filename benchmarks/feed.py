"""Training from a file on disk compared with training from images on the device.

    python -m benchmarks.feed [--images=20000] [--repeats=7] [--dtype=bfloat16]
    python -m benchmarks.feed --images=500 --networks=small --steps=4 --repeats=3  # in seconds

Images are 96x96x3 and memory-mapped. The proxy task is rotation on crops of a third of the side.
The images of a step lie on the device, or are read ahead by our own thread or by Grain. Grain reads
one image per element, as is usual, or one batch per element (`pip install -r
benchmarks/requirements.txt`; the table shows "–" without it). All forms send batches to the device
ahead of time, and all give the same batches, which is checked. The network "none" shows how fast
images can come. Prints a table and writes feed.json.
"""

import argparse
import importlib.util
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import spread, table, write

NETWORKS = {
    "none": None,
    "small": ("resnet10", 0.25, "half"),
    "resnet18": ("resnet18", 1.0, "half"),
}
TINY = {"tiny": ("vgg11", 0.0625, "half")}  # for a quick test
SIDE = 96
Rows = list[np.ndarray]
Form = Callable[[Rows], Iterator[Any]]  # from the rows of all batches to `Examples`


def write_images(path: Path, n: int) -> np.ndarray:
    """Random `[n, 96, 96, 3]` uint8, written in chunks and memory-mapped."""
    shape, rng = (n, SIDE, SIDE, 3), np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, n, 1000):
        images[start : start + 1000] = rng.integers(0, 256, images[start : start + 1000].shape)
    images.flush()
    return np.load(path, mmap_mode="r", allow_pickle=False)


def forms(images: np.ndarray, mesh: Any, threads: int) -> dict[str, Form]:
    """Every way to bring images to a step, by name."""
    from assl_jax.training.feed import Feed

    found: dict[str, Form] = {
        "device": Feed(images, mesh, "device").batches,
        "our thread": Feed(images, mesh, "host").batches,
    }
    if importlib.util.find_spec("grain"):
        found["Grain, images"] = _grain(images, mesh, threads, by_batch=False)
        found["Grain, batches"] = _grain(images, mesh, threads, by_batch=True)
    else:
        print("Grain is missing: pip install -r benchmarks/requirements.txt")
    return found


def _grain(images: np.ndarray, mesh: Any, threads: int, *, by_batch: bool) -> Form:
    import grain

    from assl_jax.training.feed import AHEAD, Examples
    from assl_jax.training.sharding import split_batch

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, AHEAD))

    def batches(rows: Rows) -> Iterator[Any]:
        if by_batch:
            read = grain.MapDataset.source(rows).map(lambda of: np.asarray(images[of]))
        else:
            order = grain.MapDataset.source(np.concatenate(rows))
            read = order.map(lambda row: images[row]).batch(len(rows[0]))
        sent = read.map(lambda batch: Examples(split_batch(batch, mesh), None))
        return iter(sent.to_iter_dataset(options))

    return batches


def check_alike(forms: dict[str, Form], images: np.ndarray, rows: Rows) -> None:
    """Raise unless every form gives exactly these rows, in their order."""
    for name, form in forms.items():
        batches = list(form(rows))
        if len(batches) != len(rows):
            raise SystemExit(f"{name} gives {len(batches)} batches of {len(rows)}")
        for examples, wanted in zip(batches, rows, strict=True):
            np.testing.assert_array_equal(examples.take(), images[wanted], name)


def consumer(network: str, images: np.ndarray, mesh: Any, dtype: str) -> Callable[[Any], Any]:
    """What uses a batch: a training step, or almost nothing; returns arrays to wait for."""
    import jax

    from assl_jax.models import make_backbone
    from assl_jax.tasks import make_task
    from assl_jax.training.optimiser import Optimiser
    from assl_jax.training.sharding import replicate
    from assl_jax.training.state import init_state
    from assl_jax.training.step import make_step

    if network == "none":
        return jax.jit(lambda examples: examples.take()[:, 0, 0, 0])
    found = (NETWORKS | TINY)[network]
    assert found
    name, width, stem = found
    backbone = make_backbone(name, width=width, stem=stem, dtype=dtype)
    task = make_task("rotation", crop_fraction=1 / 3, all_rotations=False)
    optimiser = Optimiser()
    step = make_step(backbone, task, optimiser)
    state = replicate(init_state(jax.random.key(0), backbone, task, optimiser, images), mesh)
    key, rate = replicate(jax.random.key(1), mesh), np.float32(1e-3)

    def train(examples: Any) -> Any:
        nonlocal state
        state, _metrics = step(state, examples, key, rate, None)
        return state

    return train


def measure(
    network: str, images: np.ndarray, forms: dict[str, Form], mesh: Any, args: argparse.Namespace
) -> dict[str, Any]:
    """Images/s of every form with one network, measured in turns."""
    import jax

    from assl_jax.training.loop import batch_indices

    consume = consumer(network, images, mesh, args.dtype)
    every, first = np.arange(len(images)), itertools.count()
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(args.repeats + 1):
        rows = [batch_indices(every, args.batch, next(first), 0) for _ in range(args.steps)]
        for name, form in forms.items():
            began = time.perf_counter()
            for examples in form(rows):
                done = consume(examples)
            jax.block_until_ready(done)
            if turn:  # turn 0 compiles
                times[name].append(time.perf_counter() - began)
    speed = {name: args.steps * args.batch / spread(t)["median"] for name, t in times.items()}
    row: dict[str, Any] = {"network": network}
    for name in ("device", "our thread", "Grain, images", "Grain, batches"):
        row[f"{name} (images/s)"] = speed.get(name)
    for name in ("our thread", "Grain, images", "Grain, batches"):
        ratios = [b / a for a, b in zip(times["device"], times.get(name, ()), strict=False)]
        row[f"{name} / device (time)"] = spread(ratios)["median"] if ratios else None
    ours = spread(times["our thread"])
    return {**row, "spread": (ours["high"] - ours["low"]) / ours["median"], "times": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=16, help="steps per measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of Grain; our form has one")
    parser.add_argument("--folder", default=None, help="folder of the temporary file")
    parser.add_argument("--json", default="feed.json")
    args = parser.parse_args()
    import jax

    from assl_jax.training.loop import batch_indices
    from assl_jax.training.sharding import make_mesh

    mesh = make_mesh(jax.devices()[:1])
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        images = write_images(Path(folder) / "images.npy", args.images)
        found = forms(images, mesh, args.threads)
        every = np.arange(args.images)
        check_alike(found, images, [batch_indices(every, args.batch, i, 1) for i in range(8)])
        for network in args.networks.split(","):
            rows.append(measure(network, images, found, mesh, args))
            print(_shown(rows[-1:]).splitlines()[-1], flush=True)
        size = images.nbytes
    write(args.json, rows, **vars(args), bytes=size)
    print(f"\n{args.images:,} images, {size / 1e9:.2f} GB, batches of {args.batch}\n")
    print(_shown(rows))


def _shown(rows: list[dict[str, Any]]) -> str:
    return table([{k: v for k, v in row.items() if k != "times"} for row in rows])


if __name__ == "__main__":
    main()
