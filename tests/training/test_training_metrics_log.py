"""`metrics.jsonl` and TensorBoard events."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from assl_jax.training.metrics_log import MetricsLog, recording


def record(step, loss=1.0, **more):
    return {"stage": "pretrain-a-1", "task": "a", "step": step, "loss": loss, **more}


@pytest.fixture
def log(tmp_path):
    log = MetricsLog(tmp_path)
    yield log
    log.close()


def scalars(folder):
    """`{(tag, step): value}` of all event files; a record is length, CRC, data, CRC."""
    found = {}
    for path in sorted(folder.glob("events*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
            place += 16 + length
    return found


def test_written_records_are_read_back(log):
    records = [record(1, 0.5, accuracy=0.1, kind="pretrain"), record(2, 0.25)]
    assert log.read() == []
    for r in records:
        log.write(r)
    assert log.read() == records
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == records


def test_a_torn_last_line_is_skipped_and_never_glued_to(log, tmp_path):
    log.write(record(1))
    with log.path.open("a") as file:
        file.write('{"stage": "pretrain-a-1", "task": "a", "st')
    assert log.read() == [record(1)]
    resumed = MetricsLog(tmp_path)
    resumed.write(record(2))
    resumed.write(record(3))
    resumed.close()
    assert log.read() == [record(1), record(2), record(3)]


def test_of_a_repeated_step_the_last_record_counts(log):
    for r in (record(1), record(2, 9.0), record(3, 9.0), record(2, 0.2), record(3, 0.3)):
        log.write(r)
    assert [(r["step"], r["loss"]) for r in log.read()] == [(1, 1.0), (2, 0.2), (3, 0.3)]


def test_stages_runs_and_tasks_are_kept_apart(log):
    records = [
        record(1),
        record(1) | {"task": "b"},
        record(1) | {"stage": "other"},
        record(1, run="test 0 0"),
        record(1, run="cv 0 0"),
    ]
    for r in records:
        log.write(r)
    assert log.read() == records


def test_tensorboard_events(log, tmp_path):
    log.write(record(10, 0.5, steps=20))
    log.write(record(20, 0.25, steps=20))
    log.write(record(10, 0.75, run="cv 0 1") | {"task": "target"})
    log.write(record(10, 0.125, run="cv 0 2") | {"task": "target"})
    log.close()
    assert scalars(tmp_path / "tensorboard") == {
        ("a/loss", 10): 0.5,
        ("a/loss", 20): 0.25,
        ("target/cv_0_1/loss", 10): 0.75,  # one curve per run, not one over another
        ("target/cv_0_2/loss", 10): 0.125,
    }


def test_the_speed_is_the_median_of_what_counts(log):
    assert log.speed() is None
    for r in (record(1, images_per_s=1.0), record(2, images_per_s=900.0), record(2), record(3)):
        log.write(r)
    for step, speed in ((2, 30.0), (3, 20.0)):
        log.write(record(step, images_per_s=speed))
    assert log.speed() == 20.0


def test_recording_adds_the_place_and_closes(tmp_path):
    with recording(tmp_path, stage="pretrain-a-1", kind="pretrain") as write:
        write({"task": "a", "step": 1, "loss": 0.5})
    (found,) = MetricsLog(tmp_path).read()
    assert found == record(1, 0.5, kind="pretrain")
    assert scalars(tmp_path / "tensorboard") == {("a/loss", 1): 0.5}


def test_a_second_writer_leaves_the_first_one_s_curves(tmp_path):
    for step in (1, 2):
        with recording(tmp_path, stage="pretrain-a-1") as write:
            write({"task": "a", "step": step, "loss": 0.5})
    with recording(tmp_path, stage="pretrain-a-1") as write:
        write({"task": "memory", "step": 2, "peak_host_bytes": 7})  # no curve, no file
    assert scalars(tmp_path / "tensorboard") == {("a/loss", 1): 0.5, ("a/loss", 2): 0.5}
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
