"""Peak memory and time of one training step of every 3D proxy task at the brain CT's shape.

    python -m benchmarks.step_memory [--tasks=rotation,cpc] [--batch=2] [--shape=30,270,230]

ResNet-18 with the strides that suit the shape, float32. Every task runs in its own process, because
the peak of memory is that of a process. Compilation counts for the peak, but not for the step's
time.
"""

import argparse
import json
import resource
import subprocess
import sys
import time


def measure(task: str, batch: int, shape: tuple[int, ...]) -> dict:
    """Run two steps in this process; the second one is timed."""
    import jax
    import numpy as np

    from assl_jax.models import make_backbone, suggest_delay
    from assl_jax.tasks import make_task
    from assl_jax.training.feed import Feed
    from assl_jax.training.loop import Session, Training, fit
    from assl_jax.training.optimiser import Optimiser
    from assl_jax.training.sharding import make_mesh
    from assl_jax.training.state import TrainState, init_state

    settings = {"grid": 2} if task == "jigsaw" else {}
    proxy = make_task(task, **settings)
    backbone = make_backbone("resnet18", delay=suggest_delay(shape))
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape, 1), dtype=np.int16)
    state = init_state(jax.random.key(0), backbone, proxy, Optimiser(), images)
    feed = Feed(images, make_mesh(jax.devices()[:1]), "device")

    def train(state: TrainState, steps: int) -> TrainState:
        training, session = Training(steps=steps, batch_size=batch), Session(seed=0)
        return fit(state, proxy, feed, training, backbone=backbone, session=session)

    began = time.perf_counter()
    state = train(state, 1)
    compiled = time.perf_counter()
    jax.block_until_ready(train(state, 2))
    ended = time.perf_counter()
    views = jax.eval_shape(proxy.make_batch, jax.random.key(0), images).inputs.shape
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # from KiB
    return {
        "task": task,
        "inputs": "x".join(map(str, views[:-1])),
        "peak_gib": round(peak, 2),
        "first_step_s": round(compiled - began, 1),
        "step_s": round(ended - compiled, 1),
        "backend": jax.default_backend(),
        "jax": jax.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", help="by default all")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--shape", default="30,270,230")
    parser.add_argument("--json", default="", help="also write the rows to this file")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        shape = tuple(map(int, args.shape.split(",")))
        print(json.dumps(measure(args.one, args.batch, shape)))
        return
    rows = []
    print("| task | backbone inputs | peak memory (GiB) | first step (s) | step (s) |")
    print("|---|---|---|---|---|")
    from assl_jax.tasks import TASKS

    for task in args.tasks.split(",") if args.tasks else TASKS:
        command = [sys.executable, "-m", "benchmarks.step_memory", f"--one={task}"]
        command += [f"--batch={args.batch}", f"--shape={args.shape}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"| {task} | failed (exit status {done.returncode}) | – | – | – |", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        keys = ("task", "inputs", "peak_gib", "first_step_s", "step_s")
        print("| " + " | ".join(str(row[key]) for key in keys) + " |", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
