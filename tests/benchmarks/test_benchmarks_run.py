"""Every benchmark runs from start to end, with the smallest sizes, and gives numbers."""

import math

import pytest

SMALL = ("--batch=4", "--width=0.0625", "--repeats=2")
SETTINGS = (
    *("experiment=pretrain", "tasks=rotation", "backbone.name=resnet10", "backbone.stem=half"),
    *("backbone.width=0.0625", "pretrain.steps=4", "pretrain.batch_size=8", "log_every=2"),
    *("target.steps=2", "target.batch_size=8", "target.seeds=1", "similarity.n=64"),
)
TINY = ("--tasks=rotation", "--backbone=resnet10", "--width=0.125")
# By benchmark: its options, and what the first column of its table holds.
RUNS = {
    "compilation": (("--spaces=16x16x1,8x16x16x1", *TINY), ["16x16x1", "8x16x16x1"]),
    "feed": (("--images=40", "--batch=8", "--networks=none,tiny", "--steps=2"), ["none", "tiny"]),
    "lcka": (("--n=600", "--d=8", "--tasks=2", "--repeats=2", "--memory_n=5000"), None),
    "pretrain": ((*SMALL, "--space=10x12x12x1", "--tasks=rubiks_cube"), ["rubiks_cube"]),
    "roofline": (("--space=16x16x3", *SMALL, "--tasks=rotation", "--product=64"), ["rotation"]),
    "search": (("--random=200x16", *(f"--set={each}" for each in SETTINGS)), None),
    "seeds": (("--space=16x16x1", "--seeds=2", *SMALL), ["in turn", "one program"]),
    "startup": (("--repeats=1", "--tables=first", "--width=0.0625"), ["cold", "kept"]),
}
QUICK = {"compilation": pytest.mark.slow, "seeds": pytest.mark.slow}


def numbers(found):
    """Every number in rows of rows."""
    if isinstance(found, float):
        yield found
    elif isinstance(found, dict | list):
        for each in found.values() if isinstance(found, dict) else found:
            yield from numbers(each)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=QUICK.get(name, pytest.mark.long)) for name in RUNS]
)
def test_it_runs(name, benchmark_run, tables_in):
    options, first = RUNS[name]
    printed, written = benchmark_run(name, *options)
    values = list(numbers(written["rows"]))
    assert values and all(math.isfinite(value) and value >= 0 for value in values)
    if first:
        assert [next(iter(row.values())) for row in tables_in(printed)[-1]] == first
    assert "jax" in written["environment"]
