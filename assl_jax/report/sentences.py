"""Results as sentences: the outcome of a run, and its search step by step."""

from collections.abc import Mapping
from typing import Any

from assl_jax.report.metrics_table import Entry, Results, decided_on, decides, score
from assl_jax.report.pairs import pairs_headline
from assl_jax.report.record import display, display_pool
from assl_jax.report.self_assl import backbones, self_assl_headline
from assl_jax.report.table import DASH, mean_std, percent


def _said(text: str, results: Results) -> str:
    """A printed percentage for a sentence; a metric other than the accuracy is named."""
    metric = decides(results)
    if text == DASH:
        return f"an unknown {metric or 'accuracy'}"
    return f"{text} % {metric}" if metric else f"{text} %"


def _rounded(results: Results, entry: Entry) -> str:
    """The deciding metric on the test set, with one decimal."""
    return _said(mean_std(*score(results, entry), digits=1), results)


def _test_set(results: Results) -> str:
    images, patients = results.get("test_images"), results.get("patients")
    if not images:
        return ""
    people = "" if patients in (None, images) else f" from {patients:,} patients"
    return f"test set of {images:,}{people}"


def headline(results: Results) -> str:
    """The outcome of a run in one sentence."""
    best, scratch = results.get("best"), results.get("scratch")
    labels = f"{results['labels']:,} labels" if results.get("labels") else ""
    setting = ", ".join(filter(None, [labels, _test_set(results)]))
    end = f" ({setting})" if setting else ""
    if results.get("pairs"):
        return pairs_headline(results) + end
    if backbones(results):
        return self_assl_headline(results) + end
    against = _rounded(results, scratch) if scratch else ""
    if not best:
        return f"Training from scratch: {against}{end}" if scratch else "No accuracy was measured"
    pool = display_pool(best["pool"])
    if results.get("experiment") == "mtassl":
        verb = "chose" if len(best["pool"]) > 1 else "kept"
        pool = f"Algorithm 1 {verb} {pool}" + ("" if len(best["pool"]) > 1 else " alone")
    outcome = f"{pool}: {_rounded(results, best)}"
    return outcome + (f" against {against} from scratch" if scratch else "") + end


def selection_warning(results: Results) -> str | None:
    """A line for every report whose selection has seen the test set, or None."""
    if results.get("select_on") != "test":
        return None
    what = "metrics" if decides(results) else "accuracies"
    return (
        'The selection has seen the test set (select_on="test"): '
        f"the {what} of chosen tasks and pools are optimistic."
    )


def search_trace(results: Results) -> list[str]:
    """The search, one sentence per step: what was least similar, what it gave, what followed.

    Numbers are those that the decision was made on.
    """
    iterations = results.get("iterations") or []
    if not iterations:
        return []
    kind = "on the test set" if results.get("select_on") == "test" else "in cross-validation"

    def of(entry: Entry) -> str:
        return _said(percent(decided_on(results, entry)), results)

    singles = results.get("singles") or {}
    start = list(iterations[0]["pool"])
    current: Mapping[str, Any] = singles.get(start[0], {}) if len(start) == 1 else {}
    lines = [f"{display_pool(start)} starts the pool: the best single task, {of(current)} {kind}."]
    for step in iterations:
        chosen = next((c for c in step["candidates"] if c["task"] == step.get("chosen")), None)
        if chosen is None:
            lines.append(f"{display_pool(step['pool'])}: no candidate was trained; stopped.")
            continue
        pool = [*step["pool"], chosen["task"]]
        similarity = chosen.get("similarity")
        value = "" if similarity is None else f" (similarity {similarity:.4f})"
        accepted = step.get("accepted")
        outcome = (
            f"not below {of(current)}, so it was accepted."
            if accepted
            else f"below {of(current)}, so the search stopped."
        )
        lines.append(
            f"{display(chosen['task'])} was least similar to {display_pool(step['pool'])}{value}. "
            f"{display_pool(pool)} reached {of(chosen)} {kind}, {outcome}"
        )
        current = chosen if accepted else current
    if iterations[-1].get("accepted") and len(iterations[-1]["candidates"]) == 1:
        lines.append("No candidate was left.")
    return lines
