"""The time to compile, as a user measures it."""

import pytest


@pytest.mark.slow
def test_every_program_is_timed(benchmark_run, tables_in, positive):
    options = ("--spaces=16x16x1,8x16x16x1", "--tasks=rotation", "--repeats=1")
    printed, written = benchmark_run(
        "compilation", *options, "--backbone=resnet10", "--width=0.125"
    )
    rows = tables_in(printed)[-1]
    assert [row["images"] for row in rows] == ["16x16x1", "8x16x16x1"]
    assert len(written["rows"]) == 2
    for row in rows:
        positive(row, "kernels", "tracing (s)", "compiling (s)", "without Winograd (s)")
