"""Trainings that one process or two do, and the program of each of two processes.

    python tests/support/trained_in_two.py two|every COORDINATOR NUMBER FOLDER

The program writes what it has trained and observed into the folder.
"""

import functools
import json
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from small_tasks import small_task
from toy_training import Toy

from assl_jax.errors import InputError, Interrupted
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.models import make_backbone
from assl_jax.objectives.alternating import Alternating
from assl_jax.ops.intensity import Intensity
from assl_jax.records import Features, Network
from assl_jax.signals import share, stoppable
from assl_jax.store import LocalStore
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import StageSpec
from assl_jax.tasks import TASKS, make_task
from assl_jax.training import processes
from assl_jax.training.checkpoint import Checkpoints, load_tree, save_tree
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Logging, Session, Training, fit
from assl_jax.training.metrics_log import recording
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.state import init_state

IMAGES = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 1), dtype=np.uint8)
POOL = Alternating((make_task("rotation"), make_task("mcpc")))
# Its state has the type of its parameters.
GRU = functools.partial(nn.GRUCell, param_dtype=np.float64)


class Rows:
    """Looks like a memory-mapped set to a feed, and counts the rows that are read."""

    shape, dtype, nbytes, read = IMAGES.shape, IMAGES.dtype, IMAGES.nbytes, 0

    def __getitem__(self, rows):
        self.read += len(rows)
        return IMAGES[rows]


def train(placement="device", images=IMAGES, devices=None, key=0, **session):
    """The state after a training of two tasks, by default on all devices."""
    state = Toy.state(POOL, key=key, images=IMAGES)
    where = {"placement": placement, "devices": devices or jax.device_count()}
    return Toy.fit(POOL, state=state, images=images, **where, **session)


def measured(variables, mesh):
    """Features of 13 images, and statistics estimated on all."""
    plain = {"intensity": Intensity(), "batch_size": 8}
    feed = Feed(IMAGES, mesh, "host")
    fitted = reestimate_batch_stats(Toy.backbone, variables, feed, np.arange(40), **plain)
    return features(Toy.backbone, variables, feed, np.arange(13), **plain), fitted["batch_stats"]


@mock.patch.object(nn, "GRUCell", GRU)
def train_task(name, mesh):
    """20 steps in float64: the first parameters, and the last parameters and statistics."""
    space = (16, 16, 16) if name == "rubiks_cube" else (24, 24)
    images = np.random.default_rng(1).integers(0, 256, (32, *space, 1), dtype=np.uint8)
    task = small_task(name, intensity=Intensity(mean=(0.4,), std=(0.2,)))
    optimiser = Optimiser(learning_rate=1e-3, schedule="constant")

    def in_float64(a):
        return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a

    with jax.enable_x64(True):
        backbone = make_backbone("resnet10", width=1 / 16, stem="small").clone(dtype=jnp.float64)
        state = init_state(jax.random.key(0), backbone, task, optimiser, images)
        state = jax.tree.map(in_float64, state)
        begin = jax.tree.map(np.asarray, state.params)
        training = Training(steps=20, batch_size=16, optimiser=optimiser)
        session = Session(seed=0)
        end = fit(state, task, Feed(images, mesh), training, backbone=backbone, session=session)
        return begin, jax.tree.map(np.asarray, (end.params, end.batch_stats))


def keep(folder, name, tree):
    leaves = jax.tree.leaves(jax.tree.map(np.asarray, tree))
    np.savez(folder / f"{name}.{jax.process_index()}.npz", *leaves)


def trainings(folder, told):
    """Whole trainings, what is measured of them, and files that only the primary writes."""
    with recording(folder, stage="pretrain-a-1", kind="pretrain", label="a") as record:
        whole = train(logging=Logging(every=2, record=record))
    told["files"] = sorted(p.name for p in folder.iterdir())
    processes.barrier()
    keep(folder, "device", (whole.params, whole.batch_stats))
    rows = Rows()
    host = train("host", rows)
    keep(folder, "host", (host.params, host.batch_stats))
    told["read"] = rows.read
    keep(folder, "measured", measured(whole.variables, make_mesh()))
    if processes.is_primary():
        save_tree(folder / "tree", whole.params)
    processes.barrier()
    keep(folder, "tree", load_tree(folder / "tree"))


def a_stop(folder, told):
    """Only the second process is asked to stop; both stop at the next record. Then both resume."""

    def ask(*, step, **record):
        if jax.process_index() == 1 and step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    checkpoints = Checkpoints(folder / "checkpoints")
    with stoppable():
        share()
        try:
            train(checkpoints=checkpoints, logging=Logging(title="pretrain", every=2, record=ask))
        except Interrupted as error:
            told["stopped"] = str(error)
    told["latest"] = checkpoints.latest
    begun = Checkpoints(folder / "copy")
    resumed = train(checkpoints=begun, key=7, logging=Logging(title="again"))
    keep(folder, "resumed", resumed.params)


def stages_and_errors(folder, told):
    """Both compute a stage once. Only the primary process writes its result, which both receive."""
    number, calls = jax.process_index(), []

    def compute(spec, f):
        calls.append(f)
        return Features(n=number, d=3)

    stages = Stages(LocalStore(folder / "stages"), compute)

    def run(settings):
        spec = StageSpec("features", Network(tasks=("a",)), "tiny", settings)
        assert stages.make(spec)
        return stages.get(spec).record.result

    for _ in range(2):
        result = run({})
    told["stage"], told["computed"] = [result.n, result.d], len(calls)
    try:
        run({"number": number})
    except InputError as error:
        told["different"] = str(error)
    try:
        with processes.share_errors():
            if number == 1:
                raise OSError("the disk is gone")
            processes.barrier()
    except (InputError, OSError) as error:
        told["failed"] = f"{type(error).__base__.__name__} {error}"


def two(folder):
    number = jax.process_index()
    told = {"devices": jax.device_count(), "own": jax.local_device_count()}
    told["gathered"] = processes.gather(["from", number])
    told["broadcast"] = processes.broadcast({"value": number})
    for work in (trainings, a_stop, stages_and_errors):
        work(folder, told)
    (folder / f"told.{number}.json").write_text(json.dumps(told))


def every(folder):
    for name in TASKS:
        keep(folder, name, train_task(name, make_mesh())[1])


if __name__ == "__main__":
    program, coordinator, number, folder = sys.argv[1:]
    processes.initialize(False, coordinator, 2, int(number), seconds=120)
    {"two": two, "every": every}[program](Path(folder))
