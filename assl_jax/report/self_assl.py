"""Self-ASSL: Table 4, and the figures that say whether the penalty was met by a shortcut."""

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from assl_jax.report import paper
from assl_jax.report.metrics_table import Results
from assl_jax.report.record import (
    VARIANTS,
    display_backbone,
    display_pool,
)
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

# Key: head, how a value prints.
GUARDS = {
    "similarity": ("Similarity to f_p", similar),
    "untrained": ("Similarity to an untrained network", similar),
    "effective_rank": ("Effective rank", lambda value: DASH if value is None else f"{value:.1f}"),
}
NETWORKS = {"plain": "f_p", **VARIANTS}


def backbones(results: Results) -> list[Mapping[str, Any]]:
    """One entry per backbone: its `backbone`, `scratch` and `rows`."""
    return (results.get("self_assl") or {}).get("backbones") or []


def self_assl_table(results: Results, *, printed_too: bool = False) -> Table | None:
    """In the layout of the paper's Table 4, or None; the plain second run beside it, if there is.

    Args:
      printed_too: also what the paper printed, at the end; None where it printed none of it.
    """
    groups = backbones(results)
    if not groups:
        return None
    second = any(row.get("second_run") for group in groups for row in group["rows"])
    rank = paper.rank(results)
    if printed_too and not any(_row(rank, g, row) for g in groups for row in g["rows"]):
        return None
    heads = ["Backbone", "Method", "ACC", "w. Self-ASSL", "ACC (+/-)"]
    heads += ["Second run"] if second else []
    if printed_too:
        data = paper.DATA[rank]
        heads += [f"{head}, paper ({data})" for head in ("ACC", "w. Self-ASSL", "ACC (+/-)")]
    rows: list[Row] = []
    for group in groups:
        name = display_backbone(group["backbone"])
        columns = ("plain", "self_assl", *(["second_run"] if second else []))
        found = [{key: row.get(key) or {} for key in columns} for row in group["rows"]]
        leaders = {key: winner([f[key].get("accuracy") for f in found], percent) for key in columns}
        scratch = group.get("scratch") or {}
        first = [Cell(_accuracy(scratch)), *[Cell(DASH)] * (len(columns))]
        if printed_too:
            value = paper.accuracy(rank, group["backbone"], ["scratch"])
            first += [Cell(printed(value)), Cell(DASH), Cell(DASH)]
        rows.append(Row((Cell(name), Cell("T. f. s."), *first), opens=True))
        for row, entries in zip(group["rows"], found, strict=True):
            accuracies = [
                Cell(_accuracy(entry), percent(entry.get("accuracy")) == leaders[key])
                for key, entry in entries.items()
            ]
            cells = [*accuracies[:2], Cell(difference_text(row)), *accuracies[2:]]
            if printed_too:
                cells += map(Cell, _printed(_row(rank, group, row)))
            rows.append(Row((Cell(""), Cell(display_pool(row["pool"])), *cells)))
    caption = "Without and with Self-ASSL: accuracies in %, mean ± standard deviation over "
    caption += "repeated fine-tunings; ACC (+/-): their difference in pairs of fine-tunings"
    if any(_interval(row) for group in groups for row in group["rows"]):
        caption += " [95 % interval by bootstrap over the test set's patients or images]"
    caption += "; second run: the same again without the penalty" if second else ""
    return Table(f"{caption}; T. f. s.: from scratch", tuple(heads), tuple(rows), names=2)


def guard_table(results: Results) -> Table | None:
    """How far f' is from f_p, and whether it still has learnt something; None without figures."""
    groups = backbones(results)
    columns = [g for g in GUARDS if any(row.get(g) for group in groups for row in group["rows"])]
    if not columns:
        return None
    rows: list[Row] = []
    for group in groups:
        name = display_backbone(group["backbone"])
        for row in group["rows"]:
            pool = display_pool(row["pool"])
            found = {n: [(row.get(g) or {}).get(n) for g in columns] for n in NETWORKS}
            shown = {n: values for n, values in found.items() if set(values) != {None}}
            for i, (network, values) in enumerate(shown.items()):
                first = (name, pool) if i == 0 else ("", "")
                cells = [GUARDS[g][1](value) for g, value in zip(columns, values, strict=True)]
                texts = (*first, NETWORKS[network], *cells)
                rows.append(Row(tuple(map(Cell, texts)), opens=i == 0))
                name = ""
    caption = (
        "On held-out images. A penalty that is met by a shortcut leaves features that are like no "
        "other network's, an untrained one's included, or of a low effective rank"
    )
    heads = ("Backbone", "Method", "Network", *(GUARDS[g][0] for g in columns))
    return Table(caption, heads, tuple(rows), names=3)


def settings_line(results: Results) -> str:
    """What Self-ASSL was, in one sentence; "" where nothing is said."""
    s = (results.get("self_assl") or {}).get("settings") or {}
    words = {
        "weight": lambda v: f"weight {v:g}",
        "sign": lambda v: {
            "complementary": "away from f_p",
            "as_printed": "towards f_p (Eq. 6 as printed)",
        }.get(v, str(v)),
        "floor": lambda v: f"down to a similarity of {v:g}" if v else "",
        "layer": lambda v: f"layer {v}",
        "estimator": lambda v: f"{v} estimator",
        "standardise": lambda v: {
            "none": "features as they are",
            "features": "standardised features",
            "whiten": "whitened features",
        }.get(v, str(v)),
        "queue": lambda v: f"queue of {v:g} d" if v else "",
        "init_from": lambda v: f"f' starts from {v}",
        "use": lambda v: {
            "f_prime": "f' alone is fine-tuned",
            "both": "f_p and f' are fine-tuned together",
        }.get(v, str(v)),
    }
    said = [form(s[key]) for key, form in words.items() if s.get(key) is not None]
    return f"Self-ASSL: {', '.join(filter(None, said))}." if said else ""


def self_assl_headline(results: Results) -> str:
    """The outcome in one sentence: the average difference, and how many tasks gained."""
    groups = backbones(results)
    said: list[str] = []
    before = 0
    for group in groups:
        found = [value for _, value in differences(group)]
        if not found:
            continue
        words = f"{points(statistics.fmean(found))}{'' if said else ' points'}"
        if len(found) == 1:
            ((row, _),) = differences(group)
            words += f" for {display_pool(row['pool'])}"
        else:
            words += f" on average over {len(found)} tasks" if len(found) != before else ""
            words += f" ({sum(value > 0 for value in found)} of {len(found)} up)"
        words += f" with {display_backbone(group['backbone'])}" if len(groups) > 1 else ""
        said.append(words)
        before = len(found)
    return f"Self-ASSL: {', '.join(said) or 'no accuracy was measured'}"


def certain_line(results: Results) -> str:
    """For how many pools the interval of the difference leaves out 0; "" for fewer than two."""
    found = [pair for g in backbones(results) for row in g["rows"] if (pair := ends(row))]
    if len(found) < 2:
        return ""
    up, down = sum(low > 0 for low, _ in found), sum(high < 0 for _, high in found)
    return (
        f"The 95 % interval of the difference is above 0 for {up} of {len(found)}, and below 0 "
        f"for {down}."
    )


def second_line(results: Results) -> str:
    """What a second run without the penalty gives, against which Self-ASSL is to be judged."""
    gained = [
        row["second_run"]["accuracy"] - row["plain"]["accuracy"]
        for group in backbones(results)
        for row in group["rows"]
        if row.get("second_run")
    ]
    if not gained:
        return ""
    mean = points(statistics.fmean(gained))
    average = " on average" if len(gained) > 1 else ""
    return f"A second run without the penalty: {mean} points{average} over the first."


def longer_line(results: Results) -> str:
    """A caution where f' has had more training than f_p and nothing shows what that gives."""
    entry = results.get("self_assl") or {}
    controlled = any("second_run" in row for group in backbones(results) for row in group["rows"])
    if controlled or (entry.get("settings") or {}).get("init_from") != "f_p":
        return ""
    return (
        "f' has been trained twice as long as f_p: what that alone gives, a second run without "
        "the penalty tells (self_assl.second_run=True)."
    )


def self_assl_lines(results: Results) -> list[str]:
    """What is said beside the table: how sure the differences are, and what was set."""
    forms = (certain_line, second_line, longer_line, settings_line)
    return [line for form in forms if (line := form(results))]


def differences(group: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], float]]:
    """The rows of a backbone whose difference was measured, with it."""
    for row in group["rows"]:
        value = (row.get("difference") or {}).get("mean")
        if value is not None and math.isfinite(value):
            yield row, value


def points(value: float) -> str:
    """A difference for a sentence: one decimal, its minus a true one."""
    return gain(value, digits=1).replace("-", "−")


def _accuracy(entry: Mapping[str, Any]) -> str:
    return mean_std(entry.get("accuracy"), entry.get("std"))


def ends(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a row's difference, or None."""
    found = [(row.get("difference") or {}).get(end) for end in ("low", "high")]
    low, high = (end if end is not None and math.isfinite(end) else None for end in found)
    return None if low is None or high is None else (low, high)


def _interval(row: Mapping[str, Any]) -> str:
    found = ends(row)
    return f"[{gain(found[0])}, {gain(found[1])}]" if found else ""


def difference_text(row: Mapping[str, Any]) -> str:
    """A row's difference in points, with its interval."""
    text = gain((row.get("difference") or {}).get("mean"))
    return text if text == DASH else f"{text} {_interval(row)}".strip()


def _row(rank: int, group: Mapping[str, Any], row: Mapping[str, Any]) -> paper.Improvement | None:
    """What the paper printed for a row of a backbone."""
    pool = row["pool"]
    return paper.improvement(rank, group["backbone"], pool[0]) if len(pool) == 1 else None


def _printed(row: paper.Improvement | None) -> list[str]:
    if row is None:
        return [DASH] * 3
    return [printed(row.plain), printed(row.self_assl), printed(row.difference, signed=True)]
