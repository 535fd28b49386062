"""Results as sentences: the outcome of a run, cautions, and the search step by step."""

from assl_jax.records import Evaluation, Results
from assl_jax.report import forms
from assl_jax.report.evaluations import decided_on, named_metric, score, self_assl_groups
from assl_jax.report.names import pool_title, task_title
from assl_jax.report.pairs import pairs_headline
from assl_jax.report.self_assl import self_assl_headline


def headline(results: Results) -> str:
    """The outcome of a run in one sentence."""
    outcome = _outcome(results)
    if not outcome:
        return "No accuracy was measured"
    return f"{outcome} ({results.labels:,} labels, {_test_set(results)})"


def _outcome(results: Results) -> str:
    """The outcome without its setting; "" if nothing was tested."""
    best, scratch = results.best, results.scratch
    if results.pairs:
        return pairs_headline(results)
    if self_assl_groups(results):
        return self_assl_headline(results)
    if best is None:
        return f"Training from scratch: {_on_test(results, scratch)}" if scratch else ""
    pool = pool_title(best.pool)
    if results.experiment == "mtassl":
        several = len(best.pool) > 1
        pool = f"Algorithm 1 chose {pool}" if several else f"Algorithm 1 kept {pool} alone"
    outcome = f"{pool}: {_on_test(results, best.evaluation)}"
    return f"{outcome} against {_on_test(results, scratch)} from scratch" if scratch else outcome


def _test_set(results: Results) -> str:
    images, patients = results.test_images, results.patients
    source = "" if patients in (None, images) else f" from {patients:,} patients"
    return f"test set of {images:,}{source}"


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
    if number := len(results.reused):
        what = "1 stage was" if number == 1 else f"{number:,} stages were"
        found.append(f"{what} computed by other code and reused (--reuse=settings).")
    return found


def search_trace(results: Results) -> list[str]:
    """The search, one sentence per step: the least similar task, its result and the decision.

    The numbers are those that the decision was made on.
    """
    if not results.iterations:
        return []
    kind = "on the test set" if results.select_on == "test" else "in cross-validation"

    def value(evaluation: Evaluation | None) -> str:
        return _with_unit(forms.percent(decided_on(results, evaluation)), results)

    start = results.iterations[0].pool
    incumbent = results.singles.get(start[0])
    lines = [
        f"{pool_title(start)} starts the pool: the best single task, {value(incumbent)} {kind}."
    ]
    for step in results.iterations:
        chosen = next(c for c in step.candidates if c.task == step.chosen)
        outcome = (
            f"not below {value(incumbent)}, so it was accepted."
            if step.accepted
            else f"below {value(incumbent)}, so the search stopped."
        )
        lines.append(
            f"{task_title(chosen.task)} was least similar to {pool_title(step.pool)} (similarity "
            f"{forms.similar(chosen.similarity)}). {pool_title(chosen.members)} reached "
            f"{value(chosen.evaluation)} {kind}, {outcome}"
        )
        incumbent = chosen.evaluation if step.accepted else incumbent
    last = results.iterations[-1]
    if last.accepted and len(last.candidates) == 1:
        lines.append("No candidate was left.")
    return lines
