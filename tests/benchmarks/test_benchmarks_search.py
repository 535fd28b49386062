"""The benchmark of a whole search: how time is divided, and its tables."""

import importlib

import pytest

from assl_jax.errors import InputError
from benchmarks.search import CALLS, ROWS, Span, configured, innermost


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
