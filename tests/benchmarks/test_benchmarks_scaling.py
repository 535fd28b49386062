"""The model of what devices exchange, against programs compiled for them."""

import pytest

from benchmarks.scaling import modelled


def test_the_model_by_hand():
    # 10 float32 gradients, 3 channels with mean and variance, 4 projections sent twice.
    assert modelled(10, 3, 4, devices=2) == 40 + 24 + 32
    assert modelled(10, 3, 4, devices=1) == 0


@pytest.mark.slow
def test_the_model_fits_compiled_programs(benchmark_run, tables_in):
    options = ("--tasks=simclr", "--devices=1,2,8", "--space=16x16x1", "--batch=4", "--width=0.25")
    printed, written = benchmark_run("scaling", *options)
    small, large = tables_in(printed)[-2:]
    assert [(row["task"], row["devices"]) for row in small] == [("simclr", n) for n in "128"]
    for row in small:
        if row["devices"] != "1":
            assert 1.0 <= float(row["compiled / modelled"]) < 1.05, row
    assert [row["chips"] for row in large] == ["8", "64", "512"] * 2
    shares = [float(row["efficiency, 5 µs to start (%)"]) for row in large]
    assert all(0 < share < 100 for share in shares) and shares[:3] == sorted(shares[:3])[::-1]
    assert len(written["large"]) == 6
