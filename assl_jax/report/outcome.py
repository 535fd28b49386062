"""The outcome of a run as sentences, and what readers must know before they read its numbers."""

from assl_jax.records import Evaluation, Results
from assl_jax.report import forms
from assl_jax.report.evaluations import (
    NO_GAIN,
    named_metric,
    nothing_beat_scratch,
    score,
    self_assl_groups,
    test_set,
    title_of,
    within_noise,
)
from assl_jax.report.names import SCRATCH as FROM_SCRATCH
from assl_jax.report.names import Label, inside
from assl_jax.report.pairs import pairs_headline
from assl_jax.report.self_assl import self_assl_headline
from assl_jax.words import say


def headline(results: Results) -> str:
    """The outcome of a run in one sentence."""
    if results.pretrained:
        return say("headline.pretrained", pool=Label.of(results.pretrained).title)
    outcome = _outcome(results)
    if not outcome:
        return say("headline.nothing")
    known = (
        results.best is not None and Label.of(results.best.network) == FROM_SCRATCH
    )  # then the outcome says so
    start = say("headline.none_better") if nothing_beat_scratch(results) and not known else ""
    return start + say(
        "headline.setting", outcome=outcome, labels=results.labels, test_set=test_set(results)
    )


def _outcome(results: Results) -> str:
    """The outcome without its setting; "" if nothing was tested."""
    best, scratch = results.best, results.scratch
    if results.pairs:
        return pairs_headline(results)
    if self_assl_groups(results):
        return self_assl_headline(results)
    if best is None:
        return say("headline.scratch", score=_on_test(results, scratch)) if scratch else ""
    label = Label.of(best.network)
    if label == FROM_SCRATCH:
        outcome = say(f"headline.kept_scratch.{results.select_on}")
    else:
        title = title_of(results, label)
        alone = len(label.pool) == 1 and not results.search
        if results.experiment == "mtassl":
            outcome = say(f"headline.{'kept_alone' if alone else 'kept'}", title=inside(title))
        else:
            outcome = say("headline.network", title=title)
    if results.search and len(results.search.standings) > 1:
        probability = 100 * results.search.standings[0].probability
        outcome += say("headline.probability", percent=probability)
    outcome += f": {_on_test(results, best.evaluation)}"
    if scratch is None or label == FROM_SCRATCH:
        return outcome
    outcome += say("headline.against", score=_on_test(results, scratch))
    if results.start and label.pool:
        outcome += say("headline.start_alone", score=_on_test(results, results.start))
    return outcome + _no_gain(results)


def _no_gain(results: Results) -> str:
    """The end of the headline if the kept network is not clearly better than scratch."""
    best = score(results, results.best.evaluation) if results.best else None
    scratch = score(results, results.scratch)
    if best and scratch and best.mean - scratch.mean < NO_GAIN:
        return "" if nothing_beat_scratch(results) else say("headline.no_gain")
    gain = results.over_scratch
    return say("headline.noise") if gain and within_noise(gain) else ""


def outcome_lines(results: Results) -> list[str]:
    """How sure the gain of the kept network over scratch is, and what the start weights are.

    A sentence each, where it is known.
    """
    gain, units = results.over_scratch, test_set(results)
    if gain is None:
        return _start_lines(results)
    words = [say("gain", points=forms.points(gain.mean))]
    if interval := forms.ends(gain):
        low, high = map(forms.points, interval)
        words.append(say("gain.interval", low=low, high=high, test_set=units))
    else:
        words.append(say("gain.too_small", test_set=units))
    if gain.error is not None:
        of, values = (
            ("pretrainings", gain.pretrainings)
            if gain.pretrainings
            else ("fine_tunings", gain.runs)
        )
        error = forms.tenths(gain.error)
        words.append(say(f"gain.error.{of}", number=len(values), error=error))
    return [f"{'; '.join(words)}.", *_start_lines(results)]


def _start_lines(results: Results) -> list[str]:
    """Where the start weights come from, and what they cost elsewhere."""
    start = results.start_weights
    if start is None:
        return []
    what = start.source
    if start.title:
        what = say("start.network", title=start.title, source=start.source)
    if not start.flops:
        return [say("start.unknown", what=what)]
    return [say("start.cost", what=what, tflop=start.flops / 1e12)]


def _on_test(results: Results, evaluation: Evaluation | None) -> str:
    """The deciding metric on the test set, with one decimal."""
    return with_unit(forms.mean_std(score(results, evaluation), forms.tenths), results)


def with_unit(text: str, results: Results) -> str:
    """A printed percentage for a sentence; a metric other than the accuracy is named."""
    metric = named_metric(results)
    if text == forms.DASH:
        return say("score.unknown", metric=metric or say("accuracy"))
    return say("score", percent=text, metric=metric).rstrip()


def warnings(results: Results) -> tuple[str, ...]:
    """What readers must know before they read the numbers, a sentence each."""
    found = []
    if results.select_on == "test":
        what = say("metrics" if named_metric(results) else "accuracies")
        found.append(say("warning.select_on", what=what))
    if results.images:
        found += [say("warning.images", sentence=sentence) for sentence in results.images.odd]
    if results.reused:
        found.append(say("warning.reused", n=len(results.reused)))
    return tuple(found)
