"""The metrics of the test set: which one a run decides on, and all of them as a table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from assl_jax.report.record import VARIANTS, capital, display_label, display_pool
from assl_jax.report.table import DASH, Cell, Row, Table, mean_std, percent, winner

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
}
# Keys of a row of Self-ASSL, and the variant that each stands for.
VARIANT_KEYS = {"plain": "", **{variant: variant for variant in VARIANTS}}
SMALL = 200  # patients; with fewer, a 95 % interval is wider than most gains
Results = Mapping[str, Any]
Entry = Mapping[str, Any]


def decides(results: Results) -> str | None:
    """The words for the metric that the search decides on; None for the accuracy, the default."""
    key = results.get("metric") or "accuracy"
    return None if key == "accuracy" else METRICS.get(key, key)


def measured(entry: Entry, key: str) -> Mapping[str, Any]:
    """What was measured of one metric: `mean`, `std`, `low` and `high`; empty without it."""
    return (entry.get("metrics") or {}).get(key) or {}


def score(results: Results, entry: Entry) -> tuple[Any, Any]:
    """Mean and standard deviation, on the test set, of the metric that the search decides on.

    None for what was not measured.
    """
    if decides(results) is None:
        return entry.get("accuracy"), entry.get("std")
    figures = measured(entry, results["metric"])
    return figures.get("mean"), figures.get("std")


def decided_on(results: Results, entry: Entry) -> float | None:
    """The value that the search compares: of cross-validation, or as the paper of the test set."""
    if results.get("select_on") == "test":
        return score(results, entry)[0]
    return entry.get("selection")


def tested(results: Results) -> list[tuple[list[str], Entry]]:
    """Scratch, every single task and the best pool, each with its results; none twice."""
    scratch, best = results.get("scratch"), results.get("best")
    entries: list[tuple[list[str], Entry]] = [(["scratch"], scratch)] if scratch else []
    entries += [([task], single) for task, single in (results.get("singles") or {}).items()]
    if best and list(best["pool"]) not in [pool for pool, _ in entries]:
        entries.append((list(best["pool"]), best))
    return entries


class Tested(NamedTuple):
    """A network that was tested: its tasks, its variant ("" for a plain one) and its backbone
    ("" where a run has one), and what was found."""

    pool: list[str]
    variant: str
    backbone: str
    entry: Entry

    @property
    def name(self) -> str:
        start = f"{self.backbone}/" if self.backbone else ""
        end = f".{self.variant}" if self.variant else ""
        return display_label(f"{start}{'+'.join(self.pool)}{end}")


def every(results: Results, *, candidates: bool = True) -> list[Tested]:
    """Everything that was tested, none twice.

    Args:
      candidates: with the pools that the search tried on its way.
    """
    entries = tested(results)
    for step in (results.get("iterations") or []) if candidates else []:
        tried = [c for c in step["candidates"] if c.get("accuracy") is not None]
        entries += [([*step["pool"], c["task"]], c) for c in tried]
    entries += [(list(pair["pool"]), pair) for pair in results.get("pairs") or []]
    found: dict[tuple[str, ...], Tested] = {}
    for pool, entry in entries:
        found.setdefault(tuple(pool), Tested(pool, "", "", entry))
    networks = list(found.values())
    groups = (results.get("self_assl") or {}).get("backbones") or []
    for group in groups:
        backbone = group["backbone"] if len(groups) > 1 else ""
        if group.get("scratch"):
            networks.append(Tested(["scratch"], "", backbone, group["scratch"]))
        networks += [
            Tested(list(row["pool"]), variant, backbone, row[key])
            for row in group["rows"]
            for key, variant in VARIANT_KEYS.items()
            if row.get(key)
        ]
    return networks


def metrics_table(results: Results) -> Table | None:
    """Every metric that was measured on the test set, with its interval; None without any.

    The best of a column is strong.
    """
    networks = [n for n in every(results, candidates=False) if n.entry.get("metrics")]
    entries = [n.entry for n in networks]
    keys = [key for key in METRICS if any(measured(entry, key) for entry in entries)]
    if not keys:
        return None
    chosen = list((results.get("best") or {}).get("pool") or [])
    means = {key: [measured(entry, key).get("mean") for entry in entries] for key in keys}
    leaders = {key: winner(values, _one) for key, values in means.items()}
    rows = []
    for network in networks:
        cells = [Cell(network.name)]
        for key in keys:
            figures = measured(network.entry, key)
            cells.append(Cell(_with_interval(figures), _one(figures.get("mean")) == leaders[key]))
        rows.append(Row(tuple(cells), verdict="chosen" if network.pool == chosen else ""))
    caption = "Test set, in %: mean ± standard deviation over repeated fine-tunings"
    if any(_interval(measured(entry, key)) for entry in entries for key in keys):
        words = f"of the mean of the runs, by bootstrap over {_sampled(results)} of the test set"
        caption += f" [95 % interval {words}]"
    heads = ("Pretraining", *(capital(METRICS[key]) for key in keys))
    return Table(caption, heads, tuple(rows))


def metric_lines(results: Results) -> list[str]:
    """The metrics of the best pool and of scratch, a line each, for the end of a run.

    Only where the accuracies alone may mislead: where the search decides on another metric, or the
    test set has fewer than `SMALL` patients (images, where patients are not known).
    """
    size = results.get("patients") or results.get("test_images")
    small = size is not None and size < SMALL
    best, scratch = results.get("best") or {}, results.get("scratch") or {}
    lines = []
    for key, words in METRICS.items():
        if measured(best, key) and (small or decides(results)):
            against = _with_interval(measured(scratch, key))
            end = "" if against == DASH else f", from scratch {against}"
            lines.append(f"{capital(words)} {_with_interval(measured(best, key))}{end}")
    if not lines:
        return []
    brackets = any(_interval(measured(best, key)) for key in METRICS)
    note = f" [95 % interval, by bootstrap over {_sampled(results)}]" if brackets else ""
    return [f"{display_pool(best['pool'])} on the test set, in %{note}:", *lines]


def _one(value: float | None) -> str:
    return percent(value, digits=1)


def _interval(figures: Mapping[str, Any]) -> str:
    """The ends of the interval in brackets; "" where one is missing."""
    ends = [_one(figures.get(end)) for end in ("low", "high")]
    return "" if DASH in ends else f"[{', '.join(ends)}]"


def _with_interval(figures: Mapping[str, Any]) -> str:
    text = mean_std(figures.get("mean"), figures.get("std"), digits=1)
    return text if text == DASH else f"{text} {_interval(figures)}".strip()


def _sampled(results: Results) -> str:
    """What the bootstrap draws from, with its number where that is known."""
    counts = {"patients": results.get("patients"), "images": results.get("test_images")}
    return next((f"{n:,} {who}" for who, n in counts.items() if n), "the images")
