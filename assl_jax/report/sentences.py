"""Results as sentences: the outcome of a run, cautions, and the search step by step."""

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Best, Evaluation, Iteration, Results, Rung
from assl_jax.report import forms
from assl_jax.report.evaluations import (
    NO_GAIN,
    decided_on,
    deciding_metric,
    every_network,
    named_metric,
    nothing_beat_scratch,
    score,
    self_assl_groups,
    test_set,
    within_noise,
)
from assl_jax.report.names import START, pool_title, task_title
from assl_jax.report.pairs import pairs_headline
from assl_jax.report.self_assl import self_assl_headline


def headline(results: Results) -> str:
    """The outcome of a run in one sentence."""
    outcome = _outcome(results)
    if results.pretrained:
        pool = pool_title(results.pretrained)
        return f"{pool} was pretrained; without labels, no accuracy was measured"
    if not outcome:
        return "No accuracy was measured"
    nothing = "Nothing beat training from scratch. " if nothing_beat_scratch(results) else ""
    return f"{nothing}{outcome} ({results.labels:,} labels, {test_set(results)})"


def _outcome(results: Results) -> str:
    """The outcome without its setting; "" if nothing was tested."""
    best, scratch = results.best, results.scratch
    if results.pairs:
        return pairs_headline(results)
    if self_assl_groups(results):
        return self_assl_headline(results)
    if best is None:
        return f"Training from scratch: {_on_test(results, scratch)}" if scratch else ""
    pool = pool_title(best.pool) if best.pool else START
    if best.as_long_as:
        longer = f"trained as long as {pool_title(best.as_long_as)} and its parts"
        pool = f"The search kept {pool} alone, {longer}"
    elif results.experiment == "mtassl":
        several = len(best.pool) > 1
        pool = f"Algorithm 1 chose {pool}" if several else f"Algorithm 1 kept {pool} alone"
    outcome = f"{pool}: {_on_test(results, best.evaluation)}"
    if scratch is None:
        return outcome
    outcome += f" against {_on_test(results, scratch)} from scratch"
    if results.start and best.pool:
        outcome += f" and {_on_test(results, results.start)} with the start weights alone"
    return outcome + _no_gain(results)


def _no_gain(results: Results) -> str:
    """The end of the headline if the kept network is not clearly better than scratch."""
    best, scratch = (
        score(results, evaluation)
        for evaluation in (results.best.evaluation if results.best else None, results.scratch)
    )
    if best and scratch and best.mean - scratch.mean < NO_GAIN:
        return "" if nothing_beat_scratch(results) else ": no gain"
    gain = results.over_scratch
    return ", a difference within the noise" if gain and within_noise(gain) else ""


def gain_lines(results: Results) -> list[str]:
    """How sure the gain of the kept network over scratch is, as a sentence; empty if unknown."""
    gain = results.over_scratch
    if gain is None:
        return []
    interval, units = forms.ends(gain), test_set(results)
    words = [f"Gain over scratch, paired by image: {forms.points(gain.mean)} points"]
    if interval:
        low, high = map(forms.points, interval)
        words.append(f"95 % interval {low} to {high} ({units})")
    else:
        words.append(f"the test set is too small for an interval ({units})")
    if gain.error is not None:
        several = len(gain.pretrainings)
        over = f"{several} pretrainings" if several else f"{len(gain.runs)} fine-tunings"
        words.append(f"standard error over {over} {forms.percent(gain.error, digits=1)}")
    return [f"{'; '.join(words)}."]


def _on_test(results: Results, evaluation: Evaluation) -> str:
    """The deciding metric on the test set, with one decimal."""
    return _with_unit(forms.mean_std(score(results, evaluation), digits=1), results)


def _with_unit(text: str, results: Results) -> str:
    """A printed percentage for a sentence; a metric other than the accuracy is named."""
    metric = named_metric(results)
    if text == forms.DASH:
        return f"an unknown {metric or 'accuracy'}"
    return f"{text} % {metric}".rstrip()


def warnings(results: Results) -> list[str]:
    """What readers must know before they read the numbers, a sentence each."""
    found = []
    if results.select_on == "test":
        what = "metrics" if named_metric(results) else "accuracies"
        found.append(
            'The selection has seen the test set (select_on="test"): '
            f"the {what} of chosen tasks and pools are optimistic."
        )
    if results.images:
        found += [f"The images: {sentence}." for sentence in results.images.odd]
    if number := len(results.reused):
        what = "1 stage was" if number == 1 else f"{number:,} stages were"
        found.append(f"{what} computed by other code and reused (--reuse=settings).")
    return found


def search_trace(results: Results) -> list[str]:
    """The search, one sentence per step: the least similar task, its result and the decision.

    The numbers are those that the decision was made on. The last sentence is the regret.
    """
    if results.best is None or not (results.iterations or results.left_out or results.rungs):
        return []
    kind = "on the test set" if results.select_on == "test" else "in cross-validation"

    def value(evaluation: Evaluation | None) -> str:
        return _decided(decided_on(results, evaluation), results)

    lines = [_on_rung(results, rung) for rung in results.rungs]
    start = results.iterations[0].pool if results.iterations else results.best.pool[:1]
    incumbent = results.singles.get(start[0])
    first = (
        f"{pool_title(start)} starts the pool: the best single network, {value(incumbent)} {kind}."
    )
    if lead := results.lead:
        first += (
            f" {task_title(lead.second)} is {_difference(lead.gain, lead.error, results)} behind."
        )
    lines.append(first)
    if results.left_out:
        names = ", ".join(map(task_title, results.left_out))
        base = "the start weights alone" if results.start else "training from scratch"
        lines.append(f"Left out, because no better than {base} {kind}: {names}.")
    for step in results.iterations:
        chosen = next(c for c in step.candidates if c.task == step.chosen)
        least = min(c.similarity for c in step.candidates)
        reason = (
            f"was least similar to {pool_title(step.pool)} (similarity "
            f"{forms.similar(chosen.similarity)})"
            if chosen.similarity == least
            else f"added most to a probe on {pool_title(step.pool)} "
            f"({forms.plain(chosen.complement)} nats)"
        )
        lines.append(
            f"{task_title(chosen.task)} {reason}. {pool_title(chosen.members)} reached "
            f"{value(chosen.evaluation)} {kind}{_verdict(results, step, value(incumbent))}"
        )
        incumbent = chosen.evaluation if step.accepted else incumbent
    last = results.iterations[-1] if results.iterations else None
    if last is None or (last.accepted and len(last.candidates) == 1):
        lines.append("No candidate was left.")
    if control := results.control:
        where = "on the same images" if results.select_on == "test" else "on further folds"
        alone, pool = pool_title(control.pool), pool_title(control.as_long_as)
        against = _better(control.gain, control.error, results)
        if control.over_start is not None and control.over_start_error is not None:
            size = _better(control.over_start, control.over_start_error, results)
            against += (
                f" than that network. The better of the two is {size} than {pool_title(start)} of "
                f"the beginning{_needed(control.needed, results)}"
            )
        kept = pool_title(results.best.pool)
        lines.append(
            f"{alone} alone, with all operations of {pool} and its parts, reached "
            f"{value(control.evaluation)} {kind}. Paired by image {where}, the pool is {against}, "
            f"so {kept}{_which(results.best)} was kept."
        )
    return [*lines, *_regret(results)]


def _on_rung(results: Results, rung: Rung) -> str:
    """The values of all tasks at a rung, best first, and which of them went on."""
    share = METRICS[results.metric].share
    each = [
        f"{task_title(name)} {forms.of(share)(value.mean)}" for name, value in rung.values.items()
    ]
    unit = f"{deciding_metric(results) or 'accuracy'}{' in %' if share else ''}"
    kept = [task_title(name) for name in rung.values if name in rung.kept]
    return (
        f"After {100 * rung.share:g} % of the pretraining ({unit} in cross-validation): "
        f"{', '.join(each)}. {', '.join(kept[:-1])} and {kept[-1]} went on."
    )


def _better(gain: float, error: float, results: Results) -> str:
    """By how much a network is better or worse than another, "0.1 ± 0.2 nats better"."""
    return f"{_difference(abs(gain), error, results)} {'better' if gain >= 0 else 'worse'}"


def _which(kept: Best) -> str:
    """Which network of a single task a search with a control keeps; "" for a pool."""
    if len(kept.pool) > 1:
        return ""
    return " with all these operations" if kept.as_long_as else " of the beginning"


def _verdict(results: Results, step: Iteration, incumbent: str) -> str:
    """The end of the sentence on an iteration: what was compared, and the decision."""
    outcome = "so it was accepted." if step.accepted else "so the search stopped."
    if step.gain is None or step.error is None:
        higher = METRICS[results.metric].higher_is_better
        worse = "below" if higher else "above"
        return f", {'not ' if step.accepted else ''}{worse} {incumbent}, {outcome}"
    where = "on the same images" if results.select_on == "test" else "on other folds"
    better = "better" if step.gain > 0 else "worse"
    size = _difference(abs(step.gain), step.error, results)
    needed = _needed(step.needed, results)
    return f". Paired by image {where} it was {size} {better}{needed}, {outcome}"


def _needed(gain: float | None, results: Results) -> str:
    """How large a gain had to be, in brackets; "" if 0 was enough or nothing is known."""
    return f" (it needed {_difference(gain, None, results)})" if gain else ""


def _regret(results: Results) -> list[str]:
    """What the choice cost on the test set, among all networks that were trained."""
    tested = [(t, score(results, t.evaluation)) for t in every_network(results)]
    known = [(t.label.title, e.mean) for t, e in tested if e and t.label.pool]
    kept = score(results, results.best.evaluation) if results.best else None
    if kept is None or len(known) < 2:
        return []
    title, best = max(known, key=lambda entry: entry[1])
    if best - kept.mean < NO_GAIN:
        return [f"Of the {len(known)} pretrained networks, the one kept is best on the test set."]
    return [
        f"Of the {len(known)} pretrained networks, {title} is best on the test set; the one kept "
        f"is {forms.points(best - kept.mean).lstrip('+')} points below it."
    ]


def _decided(value: float | None, results: Results) -> str:
    """A value of the deciding metric for a sentence, with its unit."""
    if METRICS[results.metric].share:
        return _with_unit(forms.percent(value), results)
    return f"{deciding_metric(results)} {forms.plain(value)}"


def _difference(value: float | None, error: float | None, results: Results) -> str:
    """A difference of the deciding metric and its standard error."""
    share = METRICS[results.metric].share
    numbers = (v if v is None or not share else 100 * v for v in (value, error))
    text = " ± ".join(f"{v:.{1 if share else 3}f}" for v in numbers if v is not None)
    return f"{text} {'points' if share else 'nats'}"
