"""Typed records: what is written is read back, and what is damaged is one clear line."""

import json
import sys
from pathlib import Path

import pytest
from finished_runs import results_of

from assl_jax import records
from assl_jax.errors import InputError
from assl_jax.ops.intensity import Intensity
from assl_jax.records import (
    BackboneRecord,
    Best,
    Estimate,
    Evaluation,
    Extension,
    LogRecord,
    Network,
    Predicted,
    Results,
    StageRecord,
)

SRC = Network(tasks=("src",))
EVALUATION = Evaluation(
    metrics={"accuracy": Estimate(mean=1 / 3, std=0.1, runs=(0.1, 0.3), low=0.0)},
    confusion=((1.5, 0.0), (2.0, 3.0)),
)
RESULTS = results_of((), labels=100, best=Best(network=SRC, evaluation=EVALUATION))
STAGE = StageRecord(
    kind="finetune",
    network=SRC,
    label="src",
    settings={"delay": [0, 1], "seed": 0},
    code="abc",
    commit="",
    result=Predicted(runs=("test 0 0",)),
    seconds=1.5,
)
BACKBONE = BackboneRecord(
    backbone={"name": "resnet10", "delay": [1, 0]},
    intensity=Intensity(low=-20.0, high=100.0, mean=(0.1,), std=(0.2,)),
    pool=("src", "rotation"),
)


@pytest.mark.parametrize("record", [RESULTS, STAGE, BACKBONE], ids=lambda r: type(r).__name__)
def test_a_record_is_read_back_equal(tmp_path, record):
    path = tmp_path / "record.json"
    records.write(path, record)
    assert records.read(str(path), type(record)) == record
    assert records.read(path, type(record)) == record
    assert json.loads(path.read_text())["version"] == records.VERSION


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda text: text[: len(text) // 2], "is damaged .*; repeat the command"),
        (lambda text: "", "is damaged"),
        (lambda text: text.replace('"labels": 100', '"labels": "many"'), "Expected `int`.*labels"),
        (lambda text: text.replace('"seed": 0,', ""), "missing required field `seed`"),
        (lambda text: text.replace('"version": 2', '"version": 9'), "version 9.* reads version 2"),
        (lambda text: text.replace('"version": 2', '"old": 2'), "version 0.* reads version 2"),
        (lambda text: "[1, 2]", "is damaged"),
    ],
)
def test_a_damaged_or_older_file_is_one_clear_line(tmp_path, damage, says):
    path = tmp_path / "results.json"
    records.write(path, RESULTS)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=says) as raised:
        records.read(path, Results)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="results.json does not exist"):
        records.read(tmp_path / "results.json", Results)


def test_a_learning_rate_is_written_only_if_it_was_chosen(tmp_path):
    for evaluation in (EVALUATION, EVALUATION.replace(learning_rate=1e-3)):
        path = tmp_path / "record.json"
        records.write(path, RESULTS.replace(scratch=evaluation))
        assert records.read(path, Results).scratch == evaluation
        written = json.loads(path.read_text())["scratch"]
        assert written.get("learning_rate") == (evaluation.learning_rate or None)


def test_gains_are_of_the_test_accuracy():
    pair = Extension(pool=("a",), task="b", similarity=0.1, avg=0.2, max=0.3, evaluation=EVALUATION)
    assert pair.members == ("a", "b")
    assert pair.avg_gain == pytest.approx(1 / 3 - 0.2)
    assert pair.max_gain == pytest.approx(1 / 3 - 0.3)
    assert pair.replace(evaluation=None).avg_gain is None


def test_a_line_of_the_log_is_flat():
    record = LogRecord(
        stage="s", kind="pretrain", label="a", task="src", step=3, steps=9, values={"loss": 0.5}
    )
    line = record.to_line()
    assert json.loads(line)["loss"] == 0.5 and "\n" not in line
    assert LogRecord.from_line(line) == record
    assert record.key == ("s", "", "src", 3)


LINES = ["{", "3", "{}", '{"stage": 1}', '{"loss": "x"}', "[" * 100_000]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_what_is_no_line_of_the_log(line):
    with pytest.raises(ValueError):
        LogRecord.from_line(line)


def test_flat_settings():
    assert records.flat_settings({"a": {"b": {"c": 1}, "d": {}}, "e": (2,)}) == {
        "a.b.c": 1,
        "a.d": {},
        "e": (2,),
    }


def test_settings_come_back_with_tuples_and_need_no_digest(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"a": {"b": [1, [2, 3]]}, "c": "x"}')
    assert records.read_settings(path) == {"a": {"b": (1, (2, 3))}, "c": "x"}
    assert records.as_settings({"a": [1]}) == {"a": (1,)}
    for text in ("{", "[1]"):
        path.write_text(text)
        with pytest.raises(InputError, match="config.json"):
            records.read_settings(path)


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    """Every byte of a record and of settings: it is refused, or what is read is the same."""
    path = tmp_path / "file.json"
    settings = {"seed": 3, "pretrain": {"rate": 1e-3, "names": ("a", "b")}, "on": True}
    for write, read, expected in (
        (lambda: records.write(path, STAGE), lambda: records.read(path, StageRecord), STAGE),
        (
            lambda: records.write(path, settings),
            lambda: records.read_settings(path),
            settings,
        ),
    ):
        write()
        whole = path.read_bytes()
        noticed = 0
        for position in range(len(whole)):
            content = bytearray(whole)
            content[position] ^= 1 << position % 8
            path.write_bytes(content)
            try:
                found = read()
                # The name of the digest may have changed, to a setting that does not exist.
                unknown = isinstance(found, dict) and found.keys() - expected.keys()
                assert found == expected or unknown
            except InputError as error:
                noticed += "file.json" in str(error) and "\n" not in str(error)
        assert noticed > len(whole) / 2


SHALLOW = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="later Pythons read 800 levels: they are not damage"
)


@pytest.mark.parametrize("depth", [pytest.param(800, marks=SHALLOW), 100_000])
def test_nested_too_deeply_is_damage(tmp_path, depth):
    path = tmp_path / "done.json"
    path.write_text('{"version": 2, "a": ' * depth + "1" + "}" * depth)
    for read in (records.read_settings, lambda path: records.read(path, StageRecord)):
        with pytest.raises(InputError, match="done.json is damaged"):
            read(path)


FILES = Path(__file__).parent / "files"  # as programs of earlier formats wrote them


def test_the_first_file_of_this_format_is_still_read():
    """Later fields have defaults."""
    stage = records.read(FILES / "stage_of_format_2.json", StageRecord)
    assert stage.kind == "finetune" and stage.result.runs == ("test 0 0", "test 0 1")
    assert stage.network.label == stage.label == "src+rotation"
    assert stage.network.parents == (SRC, Network(tasks=("rotation",)))


@pytest.mark.parametrize(
    ("version", "content"),
    [
        (0, (FILES / "results_of_0.2.0.json").read_text()),
        (1, '{"version": 1, "experiment": "mtassl", "best": {"pool": ["src"]}}'),
    ],
)
def test_a_file_of_an_earlier_format_is_one_clear_line(version, content, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(content)
    says = f"has format version {version}, this program reads version 2; repeat the command"
    with pytest.raises(InputError, match=says):
        records.read(path, Results)
