"""Results as sentences: the outcome of a run, cautions, and the search step by step."""

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Evaluation, Finalist, Iteration, LastWord, Results, Rung
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
    title_of,
    within_noise,
)
from assl_jax.report.names import (
    SCRATCH_LABEL,
    START_LABEL,
    Label,
    label_title,
    pool_title,
    task_title,
)
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
    known = results.best is not None and results.best.scratch  # then the outcome says so
    nothing = nothing_beat_scratch(results) and not known
    start = "Nothing beat training from scratch. " if nothing else ""
    return f"{start}{outcome} ({results.labels:,} labels, {test_set(results)})"


def _outcome(results: Results) -> str:
    """The outcome without its setting; "" if nothing was tested."""
    best, scratch = results.best, results.scratch
    if results.pairs:
        return pairs_headline(results)
    if self_assl_groups(results):
        return self_assl_headline(results)
    if best is None:
        return f"Training from scratch: {_on_test(results, scratch)}" if scratch else ""
    kept = pool_title(best.pool) if best.pool else title_of(results, Label("", (), START_LABEL))
    if results.experiment == "mtassl":
        kept = f"The search kept {kept}{' alone' if len(best.pool) == 1 else ''}"
    if best.as_long_as:
        kept += f", trained as long as {pool_title(best.as_long_as)} and its parts"
    if best.scratch:
        where = "on the test set" if results.select_on == "test" else "in cross-validation"
        kept = f"Nothing beat training from scratch {where}, so the search kept that network"
    outcome = f"{kept}: {_on_test(results, best.evaluation)}"
    if scratch is None or best.scratch:
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


def outcome_lines(results: Results) -> list[str]:
    """How sure the gain of the kept network over scratch is, and what the start weights are.

    A sentence each, where it is known.
    """
    lines = _start_lines(results)
    gain = results.over_scratch
    if gain is None:
        return lines
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
    return [f"{'; '.join(words)}.", *lines]


def _start_lines(results: Results) -> list[str]:
    """Where the start weights come from, and what they cost elsewhere."""
    start = results.start_weights
    if start is None:
        return []
    what = f"{label_title(start.label)} of {start.source}" if start.label else start.source
    cost = f": {start.flops / 1e12:,.1f} TFLOP of pretraining, which" if start.flops else ", which"
    return [f"The start weights are {what}{cost} the costs here do not contain."]


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
    word = results.last_word
    if results.best is None or not (results.iterations or results.rungs or word):
        return []
    kind = "on the test set" if results.select_on == "test" else "in cross-validation"

    def value(evaluation: Evaluation | None) -> str:
        return _decided(decided_on(results, evaluation), results)

    lines = [_on_rung(results, rung) for rung in results.rungs]
    begun = results.iterations[0].pool if results.iterations else results.best.pool[:1]
    if word and not begun:
        begun = next(finalist.pool for finalist in word.finalists if finalist.pool)
    incumbent = results.singles.get(begun[0])
    first = (
        f"{pool_title(begun)} starts the pool: the best single network, {value(incumbent)} {kind}."
    )
    if lead := results.lead:
        first += (
            f" {task_title(lead.second)} is {_difference(lead.gain, lead.error, results)} behind."
        )
    lines.append(first)
    if others := [name for name in results.left_out if name not in begun]:
        names = ", ".join(map(task_title, others))
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
        lines.append(
            f"{pool_title(control.pool)} alone, with all operations of "
            f"{pool_title(control.as_long_as)} and its parts, reached {value(control.evaluation)} "
            f"{kind}."
        )
    lines += [_last_word(results, word)] if word else []
    return [*lines, *_regret(results)]


def _on_rung(results: Results, rung: Rung) -> str:
    """The values of all tasks at a rung, best first, and which of them went on."""
    values = {task_title(name): value.mean for name, value in rung.values.items()}
    kept = [task_title(name) for name in rung.values if name in rung.kept]
    return (
        f"After {100 * rung.share:g} % of the pretraining ({_unit(results)} in cross-validation): "
        f"{_listed(values, results)}. {', '.join(kept[:-1])} and {kept[-1]} went on."
    )


def _last_word(results: Results, word: LastWord) -> str:
    """The scores of the finalists, and how much better the kept one is than the second."""
    where = f"mean over {word.divisions} divisions into folds"
    if word.divisions < 2:
        where = "in cross-validation" if word.divisions else "on the test set"
    first, second = word.finalists[:2]
    ahead = abs(first.score - second.score)
    scores = {_finalist(results, each): each.score for each in word.finalists}
    return (
        f"At the end ({_unit(results)}, {where}): {_listed(scores, results)}. The first was kept. "
        f"It is {_difference(ahead, second.error, results)} better than the second."
    )


def _unit(results: Results) -> str:
    """The metric of the selection, for a list of its values."""
    share = METRICS[results.metric].share
    return f"{deciding_metric(results) or 'accuracy'}{' in %' if share else ''}"


def _listed(values: dict[str, float], results: Results) -> str:
    """Values of the metric of the selection, each behind what it belongs to."""
    form = forms.of(METRICS[results.metric].share)
    return ", ".join(f"{title} {form(value)}" for title, value in values.items())


def _finalist(results: Results, finalist: Finalist) -> str:
    """The title of a finalist."""
    variant = "plain" if finalist.variant == SCRATCH_LABEL else finalist.variant
    return title_of(results, Label("", finalist.pool, variant))


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
    known = [(title_of(results, t.label), e.mean) for t, e in tested if e]
    kept = score(results, results.best.evaluation) if results.best else None
    if kept is None or len(known) < 2:
        return []
    title, best = max(known, key=lambda entry: entry[1])
    if best - kept.mean < NO_GAIN:
        return [f"Of the {len(known)} networks, the one kept is best on the test set."]
    return [
        f"Of the {len(known)} networks, {title} is best on the test set; the one kept "
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
    numbers = (v for v in (value, error) if v is not None)
    text = " ± ".join(forms.percent(v, digits=1) if share else forms.plain(v) for v in numbers)
    return f"{text} {'points' if share else 'nats'}"
