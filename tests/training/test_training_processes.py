"""Two processes over loopback (Gloo) train one network, exchange values, stop and fail together."""

import functools
import json
import os
import socket
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import TASKS
from assl_jax.training import processes
from assl_jax.training.checkpoint import CheckpointPolicy, Checkpoints
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Logging
from assl_jax.training.sharding import make_mesh

WORK = """
import flax.linen as nn
import numpy as np
import jax
import jax.numpy as jnp
from assl_jax.models.conv import Conv
from assl_jax.models.base import batch_norm, global_average
from assl_jax.objectives.alternating import Alternating
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import make_task
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training, fit
from assl_jax.training.sharding import make_mesh
from assl_jax.training.state import init_state

IMAGES = np.random.default_rng(1).integers(0, 256, (24, 16, 16, 1), dtype=np.uint8)
TRAINING = Training(steps=6, batch_size=8)
POOL = Alternating((make_task("rotation"), make_task("mcpc")))

class Backbone(nn.Module):
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(4, 3, 2, name="conv")(x)
        x = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn")(x))
        return {"stage1": x, "pooled": global_average(x)}

BACKBONE = Backbone()

class Rows:
    # Looks like a memory-mapped set to a feed, and counts the rows that are read.
    shape, dtype, nbytes, read = IMAGES.shape, IMAGES.dtype, IMAGES.nbytes, 0

    def __getitem__(self, rows):
        self.read += len(rows)
        return IMAGES[rows]

def train(placement="device", images=IMAGES, mesh=None, key=0, **more):
    state = init_state(jax.random.key(key), BACKBONE, POOL, TRAINING.optimiser, IMAGES)
    feed = Feed(images, mesh or make_mesh(), placement)
    session = Session(seed=0, **more)
    return fit(state, POOL, feed, TRAINING, backbone=BACKBONE, session=session)
"""

TWO = """
import json, os, signal, sys
from pathlib import Path
from assl_jax.errors import InputError, Interrupted
from assl_jax.training import processes

coordinator, number, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
processes.initialize(False, coordinator, 2, number, seconds=120)
{work}
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.records import Features, Network
from assl_jax.store import LocalStore
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import StageSpec
from assl_jax.training.checkpoint import Checkpoints, load_tree, save_tree
from assl_jax.signals import share, stoppable
from assl_jax.training.loop import Logging
from assl_jax.training.metrics_log import recording

told = {{"devices": jax.device_count(), "own": jax.local_device_count()}}
told["gathered"] = processes.gather(["from", number])
told["broadcast"] = processes.broadcast({{"value": number}})

def keep(name, tree):
    leaves = jax.tree.leaves(jax.tree.map(np.asarray, tree))
    np.savez(folder / f"{{name}}.{{number}}.npz", *leaves)

with recording(folder, stage="pretrain-a-1", kind="pretrain", label="a") as record:
    whole = train(logging=Logging(every=2, record=record))
told["files"] = sorted(p.name for p in folder.iterdir())
processes.barrier()
keep("device", (whole.params, whole.batch_stats))
rows = Rows()
keep("host", [(s.params, s.batch_stats) for s in [train("host", rows)]])
told["read"] = rows.read
plain = dict(intensity=Intensity(), batch_size=8)
feed = Feed(IMAGES, make_mesh(), "host")
keep("features", features(BACKBONE, whole.variables, feed, np.arange(13), **plain))
fitted = reestimate_batch_stats(BACKBONE, whole.variables, feed, np.arange(24), **plain)
keep("statistics", fitted["batch_stats"])
if processes.is_primary():
    save_tree(folder / "tree", whole.params)
processes.barrier()
keep("tree", load_tree(folder / "tree"))

# Only the second process is asked to stop; both stop at the next record.
def ask(*, step, **record):
    if number == 1 and step == 2:
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
keep("resumed", train(checkpoints=begun, key=7, logging=Logging(title="again")).params)

# Both compute a stage once. Only the primary process writes its result, which both receive.
calls = []

def compute(spec, f):
    calls.append(f)
    return Features(n=number, d=3)

stages = Stages(LocalStore(folder / "stages"), compute)

def run(settings):
    spec = StageSpec("features", Network(tasks=("a",)), "tiny", settings)
    assert stages.make(spec)
    return stages.get(spec)

for _ in range(2):
    stage = run({{}})
told["stage"], told["computed"] = [stage.record.result.n, stage.record.result.d], len(calls)
try:
    run({{"number": number}})
except InputError as error:
    told["different"] = str(error)

def fail():
    with processes.share_errors():
        if number == 1:
            raise OSError("the disk is gone")
        processes.barrier()

try:
    fail()
except (InputError, OSError) as error:
    told["failed"] = f"{{type(error).__base__.__name__}} {{error}}"
(folder / f"told.{{number}}.json").write_text(json.dumps(told))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def in_two_processes(program, folder, devices=2, seconds=500):
    """Run `program COORDINATOR NUMBER FOLDER` twice; returns the text on stderr of each."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    coordinator = f"127.0.0.1:{free_port()}"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, coordinator, str(number), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        ends = [process.communicate(timeout=seconds) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], [err[-3000:] for _, err in ends]
    return [err for _, err in ends]


@functools.cache
def defined(program):
    """The names that a program defines."""
    scope: dict = {}
    exec(compile(program, "program", "exec"), scope)
    return scope


def one_process(mesh, **more):
    return defined(WORK)["train"](mesh=mesh, **more)


def leaves(path):
    with np.load(path) as file:
        return [file[name] for name in file.files]


def close(got, want, atol=1e-5):
    for a, b in zip(got, jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=0, atol=atol)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two processes of two devices each: the folder of their files, and what each observed."""
    folder = tmp_path_factory.mktemp("two")

    def die(*, step, **record):
        if step == 5:
            raise KeyboardInterrupt

    # Half a training by one process on eight devices, which both resume.
    checkpoints = Checkpoints(folder / "copy", CheckpointPolicy(checkpoint_every=3))
    with pytest.raises(KeyboardInterrupt):
        logging = Logging(every=1, record=die)
        one_process(make_mesh(), checkpoints=checkpoints, logging=logging)
    assert checkpoints.latest == 3
    checkpoints.close()
    errors = in_two_processes(TWO.format(work=WORK), folder)
    assert (
        "again: 6/6" in errors[0] and "again" not in errors[1]
    )  # only the primary process shows progress
    return folder, [json.loads((folder / f"told.{n}.json").read_text()) for n in range(2)]


@pytest.fixture(scope="module")
def whole():
    return one_process(make_mesh(jax.devices()[:1]))


@pytest.mark.slow
def test_they_share_one_mesh_and_exchange_values(two):
    _, told = two
    for one in told:
        assert (one["devices"], one["own"]) == (4, 2)
        assert one["gathered"] == [["from", 0], ["from", 1]]
        assert one["broadcast"] == {"value": 0}


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["device", "host"])
def test_they_train_the_network_of_one_process(two, whole, placement):
    for number in range(2):
        close(leaves(two[0] / f"{placement}.{number}.npz"), (whole.params, whole.batch_stats))


@pytest.mark.slow
def test_each_reads_only_its_share_of_a_batch(two):
    assert [one["read"] for one in two[1]] == [6 * 8 / 2] * 2


@pytest.mark.slow
def test_both_have_all_features_and_statistics(two, whole):
    scope = defined(WORK)
    feed = Feed(scope["IMAGES"], make_mesh(jax.devices()[:1]))
    plain = {"intensity": Intensity(), "batch_size": 8}
    args = (scope["BACKBONE"], whole.variables, feed)
    want = features(*args, np.arange(13), **plain)
    stats = reestimate_batch_stats(*args, np.arange(24), **plain)["batch_stats"]
    assert want.shape[0] == 13
    for number in range(2):
        close(leaves(two[0] / f"features.{number}.npz"), want)
        close(leaves(two[0] / f"statistics.{number}.npz"), stats)
        close(leaves(two[0] / f"tree.{number}.npz"), whole.params)


@pytest.mark.slow
def test_the_primary_process_writes_and_stages_are_computed_once(two):
    folder, told = two
    assert told[0]["files"] == ["copy", "metrics.jsonl", "tensorboard"]
    assert len(list((folder / "tensorboard").iterdir())) == 1
    for one in told:
        assert one["stage"] == [0, 3] and one["computed"] == 1
    (stage,) = (folder / "stages").iterdir()
    result = json.loads((stage / "done.json").read_text())["result"]
    assert result == {"type": "features", "n": 0, "d": 3}


@pytest.mark.slow
def test_different_work_is_an_error(two):
    for one in two[1]:
        assert "run different stages" in one["different"]


@pytest.mark.slow
def test_a_request_to_one_stops_both_and_one_process_resumes(two, whole):
    folder, told = two
    for one in told:
        assert one["stopped"] == "stopped at step 4 of 6 of pretrain" and one["latest"] == 4
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["4"]
    checkpoints = Checkpoints(folder / "checkpoints")
    end = one_process(make_mesh(jax.devices()[:1]), checkpoints=checkpoints, key=5)
    checkpoints.close()
    close(jax.tree.leaves(end.params), whole.params)


@pytest.mark.slow
def test_two_processes_resume_the_training_of_one(two, whole):
    for number in range(2):
        close(leaves(two[0] / f"resumed.{number}.npz"), whole.params)


@pytest.mark.slow
def test_an_error_of_one_ends_both(two):
    assert [one["failed"] for one in two[1]] == [
        "InputError process 1: the disk is gone",
        "Exception the disk is gone",
    ]


def test_a_single_process_exchanges_nothing():
    assert processes.is_single() and processes.is_primary()
    value = object()  # not even JSON
    assert processes.gather(value) == [value] and processes.broadcast(value) is value
    processes.barrier()
    with pytest.raises(OSError, match="gone"), processes.share_errors():
        raise OSError("gone")
    processes.initialize(False, None, None, None)  # without flags nothing starts
    assert processes.is_single()


@pytest.mark.parametrize(
    "flags, says",
    [
        (("host:1", None, 0), "belong together"),
        (("host:1", 2, 2), "--process_id=2 must be 0 to 2 - 1"),
        (("host", 2, 0), "--coordinator=host is not HOST:PORT"),
    ],
)
def test_flags_that_do_not_fit_together(flags, says):
    with pytest.raises(InputError, match=says):
        processes.initialize(False, *flags)
    assert processes.is_single()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, says",
    [
        ("False, '127.0.0.1:{port}', 2, 1, seconds=2", "--coordinator=127.0.0.1:{port} did not"),
        ("True, None, None, None", "the processes did not come together"),
    ],
)
def test_a_missing_coordinator_is_one_line(arguments, says):
    port = free_port()
    program = f"""
        from assl_jax.errors import InputError
        from assl_jax.training import processes
        try:
            processes.initialize({arguments.format(port=port)})
        except InputError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(says.format(port=port)) and run.stdout.count("\n") == 1


EVERY = """
import functools
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import make_task
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training, fit
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import init_state

SMALL = {
    **dict.fromkeys(["jigsaw", "rubiks_cube"], {"permutations": 10, "hidden": 16}),
    "simclr": {"width": 8},
}
# Its state has the type of its parameters.
GRU = functools.partial(nn.GRUCell, param_dtype=np.float64)

def in_float64(a):
    return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a

@mock.patch.object(nn, "GRUCell", GRU)
def train_task(name, mesh):
    # 20 steps of Adam: the first parameters, and the last parameters and statistics.
    space = (16, 16, 16) if name == "rubiks_cube" else (24, 24)
    images = np.random.default_rng(1).integers(0, 256, (32, *space, 1), dtype=np.uint8)
    intensity = Intensity(mean=(0.4,), std=(0.2,))
    task = make_task(name, **SMALL.get(name, {}), intensity=intensity)
    optimiser = Optimiser(learning_rate=1e-3, schedule="constant")
    with jax.enable_x64(True):
        backbone = make_backbone("resnet10", width=1 / 16, stem="small").clone(dtype=jnp.float64)
        state = init_state(jax.random.key(0), backbone, task, optimiser, images)
        state = jax.tree.map(in_float64, state)
        begin = jax.tree.map(np.asarray, state.params)
        training = Training(steps=20, batch_size=16, optimiser=optimiser)
        session = Session(seed=0)
        end = fit(state, task, Feed(images, mesh), training, backbone=backbone, session=session)
        return begin, jax.tree.map(np.asarray, (end.params, end.batch_stats))
"""

EVERY_IN_TWO = """
import sys
from assl_jax.training import processes

processes.initialize(False, sys.argv[1], 2, int(sys.argv[2]), seconds=120)
{every}
from assl_jax.tasks import TASKS
from assl_jax.training.sharding import make_mesh

for name in TASKS:
    _, end = train_task(name, make_mesh())
    np.savez(f"{{sys.argv[3]}}/{{name}}.{{sys.argv[2]}}.npz", *jax.tree.leaves(end))
"""


@pytest.fixture(scope="module")
def every_in_two(tmp_path_factory):
    """The folder where two processes of two devices each wrote the network of every task."""
    folder = tmp_path_factory.mktemp("every")
    in_two_processes(EVERY_IN_TWO.format(every=EVERY), folder, seconds=3000)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_alike_on_one_device_eight_and_in_two_processes(name, every_in_two):
    """In float64. In float32, rounding decides the sign of some inputs of ReLUs, and Adam turns
    small gradients into whole steps. Rotation then differs by 3e-3."""
    train_task = defined(EVERY)["train_task"]
    begin, one = train_task(name, make_mesh(jax.devices()[:1]))
    _, eight = train_task(name, make_mesh())
    close(jax.tree.leaves(eight), one)
    for number in range(2):
        close(leaves(every_in_two / f"{name}.{number}.npz"), one)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one[0], begin)
    assert min(jax.tree.leaves(moved)) > 1e-3
