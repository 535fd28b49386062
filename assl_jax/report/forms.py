"""How numbers are printed."""

import functools
import math
import statistics
from collections.abc import Callable, Iterable

from assl_jax.records import Estimate

NO_WIDTH = 1e-9  # of an interval whose ends differ by rounding alone
DASH = "–"  # for a number that does not exist
Form = Callable[[float | None], str]


def percent(value: float | None, *, digits: int = 2) -> str:
    """A fraction of 1 as a percentage without its sign."""
    return fixed(value, f".{digits}f", 100)


def gain(value: float | None, *, digits: int = 2) -> str:
    """A difference of two fractions of 1 in signed percentage points."""
    return fixed(value, f"+.{digits}f", 100)


def fixed(value: float | None, form: str, scale: float = 1) -> str:
    """A number times `scale`; a dash if it does not exist."""
    if value is None or not math.isfinite(value):
        return DASH
    text = format(scale * value, form)
    # A loss of 0.001 points prints as no change, not as a negative zero.
    return text.replace("-", "+" if "+" in form else "") if float(text) == 0 else text


tenths: Form = functools.partial(percent, digits=1)  # of a percent
plain: Form = functools.partial(fixed, form=".3f")  # a log loss
similar: Form = functools.partial(fixed, form=".4f")  # a similarity in [0, 1]
rank: Form = functools.partial(fixed, form=".1f")  # an effective rank
printed: Form = functools.partial(fixed, form=".2f")  # a value of the paper, already in %
printed_gain: Form = functools.partial(fixed, form="+.2f")  # the same in points


def amount(value: float) -> str:
    """A positive number for a sentence, in three digits: 0.0123, 12.3 or 12,345."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def of(share: bool) -> Form:
    """How a metric is printed: a share of 1 in percent, any other value as it is."""
    return percent if share else plain


def points(value: float) -> str:
    """A difference for a sentence: one decimal, with a typographic minus."""
    return gain(value, digits=1).replace("-", "−")


def coefficient(value: float | None) -> str:
    """A correlation with two decimals and a typographic minus."""
    return fixed(value, ".2f").replace("-", "−")


def mean_std(estimate: Estimate | float | None, form: Form = percent) -> str:
    """Mean ± standard deviation; a number, and the mean of a single repetition, stand alone.

    With several pretrainings, the deviation of their means follows in brackets. A deviation of 0
    over several repetitions is printed. If the repetitions are not kept, it may be that of a single
    one, and is not.
    """
    if not isinstance(estimate, Estimate):
        return form(estimate)
    several = len(estimate.runs) > 1
    texts = [form(v) for v in (estimate.mean, estimate.std if several else estimate.std or None)]
    if DASH in texts:
        return texts[0]
    own = estimate.pretrainings
    return " ± ".join(texts) + (f" (± {form(statistics.stdev(own))})" if own else "")


def interval(estimate: Estimate | None) -> str:
    """The ends of the interval in percent and brackets; "" without an interval."""
    found = ends(estimate)
    return f"[{', '.join(map(tenths, found))}]" if found else ""


def ends(estimate: Estimate | None) -> tuple[float, float] | None:
    """The interval of an estimate; None without one.

    An interval of no width counts as none. A bootstrap gives one if all images of a small test set
    are alike, such as six right ones; this says nothing about other images.
    """
    low, high = (estimate.low, estimate.high) if estimate else (None, None)
    if low is None or high is None or not math.isfinite(high - low):
        return None
    return (low, high) if high - low > NO_WIDTH else None


def with_interval(estimate: Estimate | None) -> str:
    """Mean, standard deviation and interval in percent, with one decimal."""
    return f"{mean_std(estimate, tenths)} {interval(estimate)}".strip()


def winner(
    values: Iterable[float | None], form: Form, *, higher_is_better: bool = True
) -> str | None:
    """The best value as printed; None if all values print the same.

    Every value that prints like the best one is marked as best, so equal figures look equal.
    """
    numbers = [v for v in values if v is not None and math.isfinite(v)]
    best = max if higher_is_better else min
    return form(best(numbers)) if len({form(v) for v in numbers}) > 1 else None
