"""Every pair of proxy tasks: Table 1, and whether dissimilarity goes with gain."""

from collections.abc import Callable, Mapping
from typing import Any

from assl_jax.report import paper
from assl_jax.report.metrics_table import Results
from assl_jax.report.record import by_similarity, display
from assl_jax.report.table import (
    DASH,
    Cell,
    Row,
    Table,
    gain,
    mean_std,
    percent,
    printed,
    similar,
    winner,
)

Pair = Mapping[str, Any]
GAINS = {"avg_gain": "average gain", "max_gain": "maximum gain"}
# Head, key, how a value prints, which one is best.
COLUMNS: tuple[tuple[str, str, Callable[..., str], Callable[..., float]], ...] = (
    ("Similarity", "similarity", similar, min),
    ("Avg ACC", "avg", percent, max),
    ("Max ACC", "max", percent, max),
    ("Int ACC", "accuracy", percent, max),
    ("Avg (+/-)", "avg_gain", gain, max),
    ("Max (+/-)", "max_gain", gain, max),
)


def grouped(results: Results) -> list[tuple[str, list[tuple[str, Pair]]]]:
    """For each task its partners, the least similar first; every pair stands under both tasks."""
    pairs = results.get("pairs") or []
    groups = []
    for a1 in dict.fromkeys(task for pair in pairs for task in pair["pool"]):
        mine = sorted((p for p in pairs if a1 in p["pool"]), key=by_similarity)
        partners = [next(task for task in p["pool"] if task != a1) for p in mine]
        groups.append((a1, list(zip(partners, mine, strict=True))))
    return groups


def pairs_table(results: Results, *, both: bool = True, printed_too: bool = False) -> Table | None:
    """The pairs in the layout of the paper's Table 1, or None without pairs.

    Args:
      both: list each pair under both of its tasks, as the paper does; otherwise once, all pairs in
        the order of their similarity.
      printed_too: also what the paper printed for each pair, at the end; None where it printed none
        of them.
    """
    if not results.get("pairs"):
        return None
    if both:
        groups = grouped(results)
    else:
        ordered = sorted(results["pairs"], key=by_similarity)
        groups = [(p["pool"][0], [(p["pool"][1], p)]) for p in ordered]
    rank = paper.rank(results)
    if printed_too and not any(paper.pair(rank, p["pool"]) for p in results["pairs"]):
        return None
    heads = ["A1", "A2", *(head for head, *_ in COLUMNS)]
    if printed_too:
        data = paper.DATA[rank]
        heads += [f"{head}, paper ({data})" for head in ("Similarity", "Int ACC", "Avg (+/-)")]
    rivals = [p for _, group in groups for _, p in group]
    rows = []
    for a1, group in groups:
        near = [p for _, p in group] if both else rivals
        leaders = [winner([p.get(key) for p in near], form, best) for _, key, form, best in COLUMNS]
        for i, (a2, pair) in enumerate(group):
            cells = [Cell(display(a1) if i == 0 else ""), Cell(display(a2))]
            for (_, key, form, _), leader in zip(COLUMNS, leaders, strict=True):
                text = form(pair.get(key))
                shown = mean_std(pair.get(key), pair.get("std")) if key == "accuracy" else text
                cells.append(Cell(shown, text == leader))
            if printed_too:
                cells += map(Cell, _printed(rank, a1, a2))
            rows.append(Row(tuple(cells), opens=both and i == 0))
    caption = "Pairs of proxy tasks, accuracies in %, "
    caption += "A2 in the order of its similarity to A1" if both else "the least similar first"
    caption += "; Int ACC: mean ± standard deviation over repeated fine-tunings"
    return Table(caption, tuple(heads), tuple(rows), names=2)


def _printed(rank: int, a1: str, a2: str) -> list[str]:
    """Similarity, accuracy and average gain as the paper's row of a pair has them."""
    row = paper.pair(rank, (a1, a2), under=a1)
    if row is None:
        return [DASH] * 3
    return [f"{row.similarity:.4f}", printed(row.accuracy), printed(row.avg_gain, signed=True)]


def correlation_lines(results: Results) -> list[str]:
    """How similarity goes with the gains, a sentence each, and what its p-values are."""
    found = results.get("correlation") or {}
    number = len(results.get("pairs") or [])
    lines = []
    for key, words in GAINS.items():
        if key in found:
            of = found[key]
            said = ", ".join(_coefficient(of, name) for name in ("spearman", "pearson"))
            start = f"Similarity against {words} over {number} pairs"
            lines.append(f"{start}: {said}{_paper(results, key)}.")
    tested = any(of.get("spearman_p") is not None for of in found.values())
    if tested:
        lines.append(
            "p: permutation test over the tasks (Mantel), since pairs that share a task are not "
            "independent."
        )
    return lines


def coefficient(value: float | None) -> str:
    """A correlation with two decimals, its minus a true one."""
    return DASH if value is None else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def _coefficient(of: Mapping[str, Any], name: str) -> str:
    p = of.get(f"{name}_p")
    size = "" if p is None else " (p < 0.001)" if p < 0.001 else f" (p = {p:.2g})"
    value = of.get(name)
    return f"{name.capitalize()} {'undefined' if value is None else coefficient(value)}{size}"


def _paper(results: Results, key: str) -> str:
    """The paper's correlations, where its table of pairs has tasks of the run."""
    rank = paper.rank(results)
    printed = (paper.pair(rank, pair["pool"]) for pair in results["pairs"])
    if not any(row in paper.TABLE_1 for row in printed):
        return ""
    values = ", ".join(coefficient(value) for value in paper.CORRELATION[key].values())
    return f"; from the paper's Table 1 ({paper.DATA[rank]}): {values}"


def pairs_headline(results: Results) -> str:
    """The outcome in one sentence."""
    number = len(results.get("pairs") or [])
    of = (results.get("correlation") or {}).get("avg_gain") or {}
    value = of.get("spearman")
    said = "correlation undefined" if value is None else f"Spearman {coefficient(value)}"
    return f"Similarity against gain over {number} pair{'s' * (number != 1)}: {said}"
