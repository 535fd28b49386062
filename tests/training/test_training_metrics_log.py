"""`metrics.jsonl` and TensorBoard events."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from assl_jax.records import LogRecord
from assl_jax.training.metrics_log import MetricsLog, recording

PLACE = {"stage": "pretrain-a-1", "kind": "pretrain", "label": "a"}


def record(step, loss=1.0, *, accuracy=None, images_per_s=None, **more):
    values = {"loss": loss, "accuracy": accuracy, "images_per_s": images_per_s}
    values = {name: value for name, value in values.items() if value is not None}
    return LogRecord(**{**PLACE, "task": "a", "step": step, "values": values, **more})


@pytest.fixture
def log(tmp_path):
    log = MetricsLog(tmp_path)
    yield log
    log.close()


def scalars(folder):
    """`{(tag, step): value}` of all event files; an event is length, CRC, data, CRC."""
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
    records = [record(1, 0.5, accuracy=0.1, steps=9, run="cv 0 0"), record(2, 0.25)]
    assert log.read() == []
    for r in records:
        log.write(r)
    assert log.read() == records
    first, second = [json.loads(line) for line in log.path.read_text().splitlines()]
    more = {"steps": 9, "run": "cv 0 0", "loss": 0.5, "accuracy": 0.1}
    assert first == {**PLACE, "task": "a", "step": 1, **more}  # flat: values next to the rest
    assert second == {**PLACE, "task": "a", "step": 2, "steps": 0, "run": "", "loss": 0.25}


def test_a_torn_last_line_is_skipped_and_never_glued_to(log, tmp_path):
    log.write(record(1))
    with log.path.open("a") as file:
        file.write('{"stage": "pretrain-a-1", "task": "a", "st')
    assert log.read() == [record(1)]
    log.path.write_bytes(b'\xff\x00\n[1]\n{"step": 1}\n' + log.path.read_bytes())
    assert log.read() == [record(1)]  # nor does other damage end the run
    resumed = MetricsLog(tmp_path)
    resumed.write(record(2))
    resumed.write(record(3))
    resumed.close()
    assert log.read() == [record(1), record(2), record(3)]


def test_the_last_record_of_a_repeated_step_counts(log):
    for r in (record(1), record(2, 9.0), record(3, 9.0), record(2, 0.2), record(3, 0.3)):
        log.write(r)
    assert [(r.step, r.values["loss"]) for r in log.read()] == [(1, 1.0), (2, 0.2), (3, 0.3)]


def test_stages_runs_and_tasks_are_kept_apart(log):
    records = [
        record(1),
        record(1, task="b"),
        record(1, stage="other"),
        record(1, run="test 0 0"),
        record(1, run="cv 0 0"),
    ]
    for r in records:
        log.write(r)
    assert log.read() == records


def test_tensorboard_events(log, tmp_path):
    log.write(record(10, 0.5, steps=20))
    log.write(record(20, 0.25, steps=20))
    log.write(record(10, 0.75, run="cv 0 1", task="target"))
    log.write(record(10, 0.125, run="cv 0 2", task="target"))
    log.close()
    assert scalars(tmp_path / "tensorboard") == {
        ("a/loss", 10): 0.5,
        ("a/loss", 20): 0.25,
        ("target/cv_0_1/loss", 10): 0.75,  # a curve for each run
        ("target/cv_0_2/loss", 10): 0.125,
    }


def test_the_speed_is_the_median_of_the_records_that_count(log):
    assert log.speed() is None
    for r in (record(1, images_per_s=1.0), record(2, images_per_s=900.0), record(2), record(3)):
        log.write(r)
    for step, speed in ((2, 30.0), (3, 20.0)):
        log.write(record(step, images_per_s=speed))
    assert log.speed() == 20.0


def test_recording_adds_the_stage_and_closes(tmp_path):
    with recording(tmp_path, **PLACE) as write:
        write(task="a", step=1, steps=3, values={"loss": 0.5})
    assert MetricsLog(tmp_path).read() == [record(1, 0.5, steps=3)]
    assert scalars(tmp_path / "tensorboard") == {("a/loss", 1): 0.5}


def test_a_second_writer_keeps_the_curves_of_the_first(tmp_path):
    for step in (1, 2):
        with recording(tmp_path, **PLACE) as write:
            write(task="a", step=step, values={"loss": 0.5})
    with recording(tmp_path, **PLACE) as write:
        write(task="memory", step=2, values={})  # no value, no curve, no file
    assert scalars(tmp_path / "tensorboard") == {("a/loss", 1): 0.5, ("a/loss", 2): 0.5}
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
