"""The cost of augmentation and tiling: whole pretraining steps compared with bare ones.

    python -m benchmarks.pretrain [--space=96x96x3] [--tasks=simclr,rotation] [--dtype=bfloat16]
    python -m benchmarks.pretrain --space=28x28x28x1 --batch=8
    python -m benchmarks.pretrain --against=torch [--space=96x96x3]

A whole step takes rows of images on the device, makes the task's batch and trains. A bare step has
the same network, head, loss and optimiser, and starts from a finished batch. Both run in turns.
`--against=torch` trains SimCLR from end to end, in turns with a PyTorch loop. Its DataLoader
augments on the host, with one worker per core. Prints a table and writes pretrain.json.
"""

import argparse
import dataclasses
import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.side_by_side import compare, serve, spread, table, write

IMAGES = 256  # size of the data set
PIXELS = 2**17  # in a batch on a CPU, about; at most 32 images


def with_ready_batches(task: Any) -> Any:
    """The same task, whose examples are finished batches."""
    kind = type(task)
    ready = type(kind.__name__, (kind,), {"make_batch": lambda self, rng, batch: batch})
    return ready(**vars(task))


@dataclasses.dataclass(frozen=True)
class Setting:
    """One shape and one network."""

    space: tuple[int, ...]
    channels: int
    batch: int
    backbone: str
    width: float
    stem: str
    dtype: str
    steps: int
    repeats: int

    def network(self) -> Any:
        from assl_jax.models import make_backbone, suggest_delay

        return make_backbone(
            self.backbone,
            width=self.width,
            stem=self.stem,
            dtype=self.dtype,
            delay=suggest_delay(self.space),
        )

    def images(self) -> Any:
        """Stored integers that are as smooth as photographs."""
        import numpy as np

        coarse = (IMAGES, *(math.ceil(n / 4) for n in self.space), self.channels)
        images = np.random.default_rng(0).integers(0, 256, coarse, dtype=np.uint8)
        for axis, n in enumerate(self.space, 1):
            images = images.repeat(4, axis).take(range(n), axis)
        return images


def training(setting: Setting, task: Any, ready: Any = None) -> Callable[[], None]:
    """A function that makes `setting.steps` whole steps.

    With a finished batch `ready` the steps are bare ones.
    """
    import jax
    import numpy as np

    from assl_jax.training.feed import Examples, Feed
    from assl_jax.training.loop import batch_indices
    from assl_jax.training.optimiser import Optimiser
    from assl_jax.training.sharding import make_mesh, replicate
    from assl_jax.training.state import init_state
    from assl_jax.training.step import make_step

    mesh, optimiser = make_mesh(jax.devices()[:1]), Optimiser()
    images, backbone = setting.images(), setting.network()
    state = replicate(init_state(jax.random.key(0), backbone, task, optimiser, images), mesh)
    feed, rate = Feed(images, mesh, "device"), np.float32(1e-3)
    key, rows = replicate(jax.random.key(1), mesh), np.arange(IMAGES)
    trained: Any = task if ready is None else with_ready_batches(task)
    step = make_step(backbone, trained, optimiser)
    done = 0

    def work() -> None:
        nonlocal state, done
        if ready is None:
            order = (batch_indices(rows, setting.batch, done + i, 0) for i in range(setting.steps))
            given: Iterator[Any] = feed.batches(order)
        else:
            given = iter([Examples(ready, None)] * setting.steps)
        for examples in given:
            state, _metrics = step(state, examples, key, rate, None)
        done += setting.steps
        jax.block_until_ready(state)

    return work


def measure(name: str, setting: Setting) -> dict[str, Any]:
    """The whole step, the bare step and the batch alone of one task, in turns."""
    import jax

    from assl_jax.tasks import make_task

    task = make_task(name, **({"grid": 2} if name == "jigsaw" and len(setting.space) == 3 else {}))
    make = jax.jit(task.make_batch)
    images = jax.device_put(setting.images()[: setting.batch])
    ready = make(jax.random.key(2), images)

    def making() -> None:
        for _ in range(setting.steps):
            jax.block_until_ready(make(jax.random.key(2), images))

    works = {
        "whole": training(setting, task),
        "bare": training(setting, task, ready),
        "batch": making,
    }
    times: dict[str, list[float]] = {what: [] for what in works}
    for turn in range(setting.repeats + 1):
        for what, work in works.items():
            began = time.perf_counter()
            work()
            if turn:  # turn 0 compiles
                times[what].append((time.perf_counter() - began) / setting.steps)
    pairs = zip(times["whole"], times["bare"], strict=True)
    overhead = spread([whole / bare for whole, bare in pairs])
    median = {what: spread(values)["median"] for what, values in times.items()}
    return {
        "task": name,
        "inputs per image": "x".join(map(str, ready.inputs.shape[1:-1])),
        "whole step (images/s)": setting.batch / median["whole"],
        "bare step (images/s)": setting.batch / median["bare"],
        "whole / bare (time)": overhead["median"],
        "quartiles": f"{overhead['low']:.3f} to {overhead['high']:.3f}",
        "batch alone (ms)": 1e3 * median["batch"],
        "share of the bare step (%)": 1e2 * median["batch"] / median["bare"],
        "times": times,
    }


def against_torch(setting: Setting, options: list[str], workers: int) -> dict[str, Any]:
    """SimCLR from end to end in this library and in PyTorch, images/s."""
    programs = ["assl_jax"]
    if importlib.util.find_spec("torch"):
        programs.append("PyTorch")
    else:
        print("PyTorch is missing: pip install -r benchmarks/requirements.txt")
    found = compare(
        {
            who: ["benchmarks.pretrain", f"--worker={who}", f"--workers={workers}", *options]
            for who in programs
        },
        setting.repeats,
    )
    images = setting.batch * setting.steps
    speeds = {who: images / result["median"] for who, result in found.items()}
    theirs, ours = speeds.get("PyTorch"), found["assl_jax"]
    return {
        "task": "simclr",
        "image": "x".join(map(str, (*setting.space, setting.channels))),
        "assl_jax (images/s)": speeds["assl_jax"],
        "PyTorch (images/s)": theirs,
        "assl_jax / PyTorch": theirs and speeds["assl_jax"] / theirs,
        "spread": (ours["high"] - ours["low"]) / ours["median"],
        "times": {who: result["times"] for who, result in found.items()},
    }


def work_of(who: str, setting: Setting, workers: int) -> None:
    """In a worker: SimCLR in one of the two libraries, on each request."""
    if who == "assl_jax":
        from assl_jax.tasks import make_task

        return serve(training(setting, make_task("simclr")))
    from benchmarks.torch_simclr import training as in_torch

    serve(in_torch(setting, workers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="96x96x3", help="an image's shape, channels last")
    parser.add_argument("--tasks", default="", help="default: every task of the images' rank")
    parser.add_argument("--batch", type=int, default=0, help="images; 0: a size for a CPU")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--stem", default="imagenet")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=0, help="per measurement; 0: 2, 16 for torch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--against", default="", choices=("", "torch"))
    parser.add_argument("--workers", type=int, default=0, help="of the DataLoader; 0: every core")
    parser.add_argument("--json", default="pretrain.json")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    *space, channels = map(int, args.space.split("x"))
    batch = args.batch or max(2, min(32, PIXELS // math.prod(space)))
    network = {key: getattr(args, key) for key in ("backbone", "width", "stem", "dtype")}
    setting = Setting(
        space=tuple(space),
        channels=channels,
        batch=batch,
        steps=args.steps or (16 if args.against else 2),
        repeats=args.repeats,
        **network,
    )
    if args.worker:
        return work_of(args.worker, setting, args.workers)
    if args.against:
        options = [f"--{key}={value}" for key, value in network.items()]
        options += [f"--space={args.space}", f"--batch={batch}", f"--steps={setting.steps}"]
        rows = [against_torch(setting, options, args.workers)]
    else:
        rank = len(space)
        from assl_jax.tasks import TASKS

        every = [name for name, task in TASKS.items() if rank in task.ranks]
        rows = []
        for name in args.tasks.split(",") if args.tasks else every:
            rows.append(measure(name, setting))
            print(_shown(rows[-1:]).splitlines()[-1], flush=True)
    write(args.json, rows, **dataclasses.asdict(setting))
    print("\n" + _shown(rows))


def _shown(rows: list[dict[str, Any]]) -> str:
    return table([{k: v for k, v in row.items() if k != "times"} for row in rows])


if __name__ == "__main__":
    main()
