"""The benchmark of a whole search: how time is divided, and its tables."""

import importlib

import pytest

from assl_jax.errors import InputError
from benchmarks.search import CALLS, CATEGORIES, ROWS, Span, configured, innermost


def test_every_instant_counts_for_the_innermost_call():
    spans = [
        Span(3, 4, None, "compile"),  # inside the step
        Span(2, 6, None, "step"),
        Span(5, 5.5, None, "input"),
        Span(1, 8, "pretrain", "other"),
        Span(8, 9, None, "compile"),  # between stages
        Span(0, 10, "rest", "other"),
    ]
    assert innermost(spans) == {
        ("rest", "other"): 2,  # 0 to 1, 9 to 10
        ("pretrain", "other"): 3,  # 1 to 2, 6 to 8
        ("pretrain", "step"): 2.5,
        ("pretrain", "compile"): 1,
        ("pretrain", "input"): 0.5,
        ("rest", "compile"): 1,
    }


def test_nested_calls_of_one_category_count_once():
    # JAX reports the tracing of a function and of a function inside it separately.
    spans = [Span(1, 3, None, "trace"), Span(0, 4, None, "trace")]
    assert innermost(spans) == {("rest", "trace"): 4}


@pytest.mark.long  # two runs in their own processes, a minute of compilation
def test_both_runs_have_their_times(benchmark_run, tables_in, positive):
    settings = (
        *("experiment=pretrain", "tasks=rotation", "backbone.name=resnet10", "backbone.stem=half"),
        *("backbone.width=0.0625", "pretrain.steps=4", "pretrain.batch_size=8", "log_every=2"),
        *("target.steps=2", "target.batch_size=8", "target.seeds=1", "similarity.n=64"),
    )
    options = ["--random=200x16", *(f"--set={setting}" for setting in settings)]
    out, written = benchmark_run("search", *options)
    times, speeds = tables_in(out)
    for name in ("first", "second"):
        rows = {row["stage"]: row for row in times if row["run"] == name}
        assert {"pretrain", "finetune", "report", "data", "**all**"} <= set(rows)
        positive(rows["pretrain"], *CATEGORIES, "all (s)")
        positive(rows["finetune"], "trace", "compile", "input", "step", "evaluation", "all (s)")
        run = written["runs"][name]
        found = sum(sum(row.values()) for row in run["seconds"].values())
        assert found == pytest.approx(run["wall"])
        assert min(min(row.values()) for row in run["seconds"].values()) >= 0
        assert f"{name} run: " in out
    (row,) = speeds
    assert row["pretraining"] == "rotation"
    positive(row, "first run (images/s)", "second run (images/s)")
    first, second = (written["runs"][name] for name in ("first", "second"))
    assert first["compiled"] > 0 and first["compiled"] + first["kept"] >= second["compiled"]
    assert second["kept"] > 0


def test_every_timed_function_exists():
    for name in (*CALLS, *ROWS):
        module, _, path = name.partition(":")
        owner = importlib.import_module(module)
        for attribute in path.split("."):
            owner = getattr(owner, attribute)
        assert callable(owner), name


def test_a_config_may_have_an_argument():
    config = configured("configs/pairs.py:digits", ["pretrain.steps=7", "tasks=src,rotation"], "")
    assert (config.experiment, config.data.name) == ("pairs", "digits")
    assert (config.pretrain.steps, config.tasks) == (7, "src,rotation")
    with pytest.raises(InputError, match="pretrain"):
        configured("configs/mtassl_digits.py", ["pretrian.steps=7"], "")
