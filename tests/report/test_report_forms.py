"""How numbers are printed, and which of them is the best."""

import pytest

from assl_jax.records import Estimate
from assl_jax.report import forms

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "percent", "gain"),
    [(0.12345, "12.35", "+12.35"), (-0.0342, "-3.42", "-3.42"), (None, "–", "–")]
    + [(NAN, "–", "–"), (-0.00001, "0.00", "+0.00"), (0.0, "0.00", "+0.00")],
)
def test_numbers(value, percent, gain):
    assert forms.percent(value) == percent
    assert forms.gain(value) == gain


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(mean=0.5, std=0.0, runs=(0.5, 0.5)), "50.00 ± 0.00"),
        (Estimate(mean=0.5, std=0.0, runs=(0.5,)), "50.00"),  # a single run has no deviation
        (Estimate(mean=0.5, std=0.0), "50.00"),
        (Estimate(mean=0.5, std=0.0123), "50.00 ± 1.23"),
        (None, "–"),
        (
            Estimate(mean=0.5, std=0.1, runs=(0.4, 0.4, 0.6, 0.6), pretrainings=(0.4, 0.6)),
            "50.00 ± 10.00 (± 14.14)",
        ),
    ],
)
def test_mean_and_deviation(estimate, text):
    assert forms.mean_std(estimate) == text


def test_an_interval_of_no_width_is_not_claimed():
    assert forms.with_interval(Estimate(mean=1.0, std=0.0, low=1.0, high=1.0)) == "100.0"
    almost = Estimate(mean=0.5, std=0.1, low=0.5 - 1e-12, high=0.5)
    assert forms.ends(almost) is None and forms.ends(Estimate(mean=0.5, std=0.1)) is None
    wide = Estimate(mean=1.0, std=0.0, runs=(1.0, 1.0), low=0.9, high=1.0)
    assert forms.with_interval(wide) == "100.0 ± 0.0 [90.0, 100.0]"


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [
        ([0.1, 0.3, None, 0.2], True, "30.00"),
        ([0.1, 0.3, None, 0.2], False, "10.00"),
        ([0.1, 0.100001], True, None),  # they print the same
        ([0.1, NAN], True, None),
        ([], True, None),
    ],
)
def test_the_winner_of_a_column(values, higher, best):
    assert forms.winner(values, forms.percent, higher_is_better=higher) == best
