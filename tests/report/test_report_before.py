"""What a run says before it starts."""

import pytest

from assl_jax.console import duration
from assl_jax.records import DataSummary, Split
from assl_jax.report.before import data_lines, plan_lines
from assl_jax.strategies.outlook import Pace, Work


def lines_of(shape, splits, **words):
    return data_lines(DataSummary(name="npz", shape=shape, dtype="uint8", splits=splits, **words))


def test_the_images():
    splits = {
        "unlabeled": Split(images=1200, patients=40),
        "test": Split(images=30, patients=9, classes={"cat": 10, "dog": 20}),
    }
    words = {
        "skipped": ("a.png: not an image",),
        "notes": ("val/ joins the training images",),
        "odd": ("3 images are copies of others",),
    }
    assert lines_of((32, 32, 3), splits, **words) == [
        "Images of npz: 32x32, 3 channels, uint8",
        "",
        "Split      Classes           Images  Patients",
        "---------  ----------------  ------  --------",
        "unlabeled  not used           1,200        40",
        "test       cat: 10, dog: 20      30         9",
        "note: val/ joins the training images",
        "left out: a.png: not an image",
        "check: 3 images are copies of others",
    ]


def test_many_files_that_were_left_out():
    skipped = tuple(f"{i}.png: not an image" for i in range(1234))
    *_, last, more = lines_of((8, 8, 1), {"test": Split(images=9)}, skipped=skipped)
    assert last == "left out: 19.png: not an image"
    assert more == "left out: 1,214 more files, which the report names"


def test_many_classes_and_no_patients():
    split = Split(images=980, classes={f"c{i}": 5 + i for i in range(40)})
    caption, _, heads, _, row = lines_of((8, 8, 8, 1), {"test": split})
    assert caption == "Images of npz: 8x8x8, 1 channel, uint8"
    assert heads.split() == ["Split", "Classes", "Images"]
    assert row == "test   40 classes of 5 (c0) to 44 (c39)     980"


def test_the_plan():
    works = [Work("pretrain src", 1000, 6e12, False), Work("fine-tune src", 20, 3e12, True)]
    assert plan_lines(works, Pace(1e10, 3 * 2**30, None), "Then pools follow.") == [
        "Plan           Steps     FLOP      Time",
        "-------------  -----  -------  --------",
        "pretrain src   1,000  6.0e+12    10 min",
        "fine-tune src     20  3.0e+12  finished",
        "",
        "Together about 10 min, and 3.0 GiB of memory of the machine.",
        "The times follow from a few timed steps and the compute, without compilation.",
    ]


def test_the_plan_has_a_bound_for_what_follows():
    works = [Work("pretrain src", 1000, 6e12, False)]
    follows = [Work("pools, at most 2", 900, 1.2e13, False), Work("the control", 5, 6e12, False)]
    *table, empty, first, most, _ = plan_lines(works, Pace(1e10, None, None), "Pools.", follows)
    assert [line.split()[-2:] for line in table[2:]] == [
        ["10", "min"],
        ["20", "min"],
        ["10", "min"],
    ]
    assert (first, most) == (
        "The beginning takes about 10 min. Pools.",
        "The whole run takes at most about 40 min.",
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (6001, "1.7 h"), (200_000, "2.3 days")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
