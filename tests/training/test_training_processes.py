"""Two processes over loopback (Gloo) train one network, exchange values, stop and fail together."""

import json

import jax
import numpy as np
import pytest
import trained_in_two
from trained_in_two import measured, train, train_task
from two_processes import free_port, run_two, start

from assl_jax.errors import InputError
from assl_jax.tasks import TASKS
from assl_jax.training import processes
from assl_jax.training.checkpoint import CheckpointPolicy, Checkpoints
from assl_jax.training.loop import Logging
from assl_jax.training.sharding import make_mesh


def in_two_processes(program, folder, seconds=500):
    """What each of two processes of two devices wrote on stderr; see `trained_in_two`."""

    def arguments(coordinator, number):
        return trained_in_two.__file__, program, coordinator, number, folder

    ends = run_two(arguments, devices=2, seconds=seconds)
    errors = [err for _, _, err in ends]
    assert [status for status, *_ in ends] == [0, 0], [err[-3000:] for err in errors]
    return errors


def close(got, want, atol=1e-5):
    for a, b in zip(got, jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=0, atol=atol)


def both_kept(folder, name, want):
    """Both processes kept these arrays."""
    for number in range(2):
        with np.load(folder / f"{name}.{number}.npz") as file:
            close([file[key] for key in file.files], want)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of the files of two processes, and what each observed."""
    folder = tmp_path_factory.mktemp("two")

    def die(*, step, **record):
        if step == 5:
            raise KeyboardInterrupt

    # Half a training by one process on eight devices, which both resume.
    checkpoints = Checkpoints(folder / "copy", CheckpointPolicy(checkpoint_every=3))
    with pytest.raises(KeyboardInterrupt):
        train(checkpoints=checkpoints, logging=Logging(every=1, record=die))
    assert checkpoints.latest == 3
    checkpoints.close()
    errors = in_two_processes("two", folder)
    # Only the primary process shows progress.
    assert "again: 6/6" in errors[0] and "again" not in errors[1]
    return folder, [json.loads((folder / f"told.{n}.json").read_text()) for n in range(2)]


@pytest.fixture(scope="module")
def one():
    return make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def whole():
    return train(devices=1)


@pytest.mark.slow
def test_they_share_one_mesh_and_exchange_values(two):
    for told in two[1]:
        assert (told["devices"], told["own"]) == (4, 2)
        assert told["gathered"] == [["from", 0], ["from", 1]]
        assert told["broadcast"] == {"value": 0}
        assert told["read"] == 6 * 8 / 2  # only its share of a batch


@pytest.mark.slow
def test_they_train_and_measure_the_network_of_one_process(two, whole, one):
    for placement in ("device", "host"):
        both_kept(two[0], placement, (whole.params, whole.batch_stats))
    both_kept(two[0], "tree", whole.params)
    want = measured(whole.variables, one)
    assert want[0].shape[0] == 13
    both_kept(two[0], "measured", want)


@pytest.mark.slow
def test_the_primary_process_writes_and_stages_are_computed_once(two):
    folder, told = two
    assert told[0]["files"] == ["copy", "metrics.jsonl", "tensorboard"]
    assert len(list((folder / "tensorboard").iterdir())) == 1
    for each in told:
        assert each["stage"] == [0, 3] and each["computed"] == 1
        assert "run different stages" in each["different"]
    (stage,) = (folder / "stages").iterdir()
    result = json.loads((stage / "done.json").read_text())["result"]
    assert result == {"type": "features", "n": 0, "d": 3}


@pytest.mark.slow
def test_a_request_to_one_stops_both_and_one_process_resumes(two, whole):
    folder, told = two
    for each in told:
        assert each["stopped"] == "stopped at step 4 of 6 of pretrain" and each["latest"] == 4
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["4"]
    checkpoints = Checkpoints(folder / "checkpoints")
    end = train(devices=1, checkpoints=checkpoints, key=5)
    checkpoints.close()
    close(jax.tree.leaves(end.params), whole.params)


@pytest.mark.slow
def test_two_processes_resume_the_training_of_one(two, whole):
    both_kept(two[0], "resumed", whole.params)


@pytest.mark.slow
def test_an_error_of_one_ends_both(two):
    assert [told["failed"] for told in two[1]] == [
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
        (("host:1", None, 0), "--coordinator=HOST:PORT, .* belong together; give all"),
        ((None, 2, None), "belong together"),
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
    process = start("-c", program)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(says.format(port=port)) and out.count("\n") == 1


@pytest.fixture(scope="module")
def every_in_two(tmp_path_factory):
    """The folder where two processes of two devices each wrote the network of every task."""
    folder = tmp_path_factory.mktemp("every")
    in_two_processes("every", folder, seconds=3000)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_alike_on_one_device_eight_and_in_two_processes(name, every_in_two, one):
    """In float64. In float32, rounding decides the sign of some inputs of ReLUs, and Adam turns
    small gradients into whole steps. Rotation then differs by 3e-3."""
    begin, want = train_task(name, one)
    _, eight = train_task(name, make_mesh())
    close(jax.tree.leaves(eight), want)
    both_kept(every_in_two, name, want)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), want[0], begin)
    assert min(jax.tree.leaves(moved)) > 1e-3
