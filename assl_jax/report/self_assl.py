"""Self-ASSL: Table 4, and the quantities that show whether a shortcut satisfied the penalty."""

import statistics
from typing import Any

from assl_jax.records import Estimate, Results, SelfASSLGroup, SelfASSLRow
from assl_jax.report import forms, paper
from assl_jax.report.evaluations import self_assl_groups, spread, test_set, within_noise
from assl_jax.report.names import START, backbone_title, pool_title
from assl_jax.report.table import Cell, Row, Table
from assl_jax.strategies.network import VARIANTS

NETWORKS = {"plain": "f_p", **VARIANTS}
# Fields of a row: head, how a value prints.
GUARDS = {
    "similarity": ("Similarity to f_p", forms.similar),
    "untrained": ("Similarity to an untrained network", forms.similar),
    "effective_rank": ("Effective rank", lambda v: forms.DASH if v is None else f"{v:.1f}"),
}
# Settings: what a value means; other values are shown as they are.
MEANINGS = {
    "sign": {"complementary": "away from f_p", "as_printed": "towards f_p (Eq. 6 as printed)"},
    "standardise": {
        "none": "features as they are",
        "features": "standardised features",
        "whiten": "whitened features",
    },
    "use": {
        "f_prime": "f' alone is fine-tuned",
        "both": "f_p and f' are fine-tuned together",
    },
}


def self_assl_table(results: Results, *, with_paper: bool = False) -> Table | None:
    """The layout of the paper's Table 4, with the plain second run if there is one; or None.

    Args:
      results: of a run.
      with_paper: add the paper's values at the end; None if it has none of the rows.
    """
    groups, rank = self_assl_groups(results), len(results.space)
    in_paper = any(_printed(rank, group, row) for group in groups for row in group.rows)
    if not groups or (with_paper and not in_paper):
        return None
    second = any(row.second_run for group in groups for row in group.rows)
    variants = ["plain", "self_assl", *(["second_run"] if second else [])]
    heads = ["Backbone", "Method", "ACC", "w. Self-ASSL", "ACC (+/-)"]
    heads += ["Second run"] if second else []
    if with_paper:
        heads += paper.heads(rank, "ACC", "w. Self-ASSL", "ACC (+/-)")
    rows: list[Row] = []
    for group in groups:
        name = Cell(backbone_title(group.backbone))
        scratch = [forms.mean_std(group.scratch.accuracy)] + [forms.DASH] * len(variants)
        if with_paper:
            value = paper.accuracy(rank, group.backbone, ())
            scratch += [forms.printed(value), forms.DASH, forms.DASH]
        rows.append(Row((name, Cell("T. f. s."), *map(Cell, scratch)), opens=True))
        if group.start:
            alone = [forms.mean_std(group.start.accuracy), *scratch[1:]]
            if with_paper:
                alone[-3:] = [forms.DASH] * 3
            rows.append(Row((Cell(""), Cell(START), *map(Cell, alone))))
        leaders = {
            variant: forms.winner([_mean(row, variant) for row in group.rows], forms.percent)
            for variant in variants
        }
        for row in group.rows:
            plain, self_assl, *control = (
                Cell(
                    forms.mean_std(_accuracy(row, variant)),
                    forms.percent(_mean(row, variant)) == leaders[variant],
                )
                for variant in variants
            )
            cells = [plain, self_assl, Cell(difference_text(row.difference)), *control]
            if with_paper:
                cells += map(Cell, _printed_cells(_printed(rank, group, row)))
            rows.append(Row((Cell(""), Cell(pool_title(row.pool)), *cells)))
    caption = (
        f"Without and with Self-ASSL: accuracies in %, {spread(results)}; "
        "ACC (+/-): their difference, paired by fine-tuning"
    )
    if any(forms.ends(row.difference) for group in groups for row in group.rows):
        caption += " [95 % interval by bootstrap over the test set's patients or images]"
    caption += f"; {test_set(results)}"
    caption += "; second run: a second training without the penalty" if second else ""
    return Table(f"{caption}; T. f. s.: from scratch", tuple(heads), tuple(rows), names=2)


def guard_table(results: Results) -> Table | None:
    """How far f' is from f_p, and whether its features are still useful; None without them."""
    groups = self_assl_groups(results)
    rows: list[Row] = []
    for group in groups:
        name = backbone_title(group.backbone)
        for row in group.rows:
            pool = pool_title(row.pool)
            for i, variant in enumerate(v for v in NETWORKS if v in row.evaluations):
                start = (name, pool) if i == 0 else ("", "")
                values = [form(getattr(row, g).get(variant)) for g, (_, form) in GUARDS.items()]
                texts = (*start, NETWORKS[variant], *values)
                rows.append(Row(tuple(map(Cell, texts)), opens=i == 0))
                name = ""
    if not rows:
        return None
    caption = (
        "On held-out images. If a shortcut satisfied the penalty, the features resemble no other "
        "network's, not even an untrained one's, or their effective rank is low"
    )
    heads = ("Backbone", "Method", "Network", *(head for head, _ in GUARDS.values()))
    return Table(caption, heads, tuple(rows), names=3)


def self_assl_headline(results: Results) -> str:
    """The outcome in one sentence: the average difference, and how many tasks gained clearly."""
    groups = self_assl_groups(results)
    parts: list[str] = []
    number = 0
    for group in groups:
        found = [row.difference.mean for row in group.rows]
        if not found:
            continue
        words = f"{forms.points(statistics.fmean(found))}{'' if parts else ' points'}"
        sure = [value for row, value in zip(group.rows, found, strict=True) if _clear(row)]
        if len(found) == 1:
            words += f" for {pool_title(group.rows[0].pool)}"
            words += "" if sure else ", within the noise"
        else:
            words += f" on average over {len(found)} tasks" if len(found) != number else ""
            up, clear = (sum(value > 0 for value in values) for values in (found, sure))
            words += f" ({up} of {len(found)} up, {clear} beyond the noise)"
        words += f" with {backbone_title(group.backbone)}" if len(groups) > 1 else ""
        parts.append(words)
        number = len(found)
    return f"Self-ASSL: {', '.join(parts) or 'no accuracy was measured'}"


def _clear(row: SelfASSLRow) -> bool:
    return not within_noise(row.difference)


def self_assl_lines(results: Results) -> list[str]:
    """Sentences next to the table: how certain the differences are, and the settings."""
    sentences = (certain_line, second_line, longer_line, settings_line)
    return [line for sentence in sentences if (line := sentence(results))]


def certain_line(results: Results) -> str:
    """For how many pools the interval of the difference excludes 0; "" for fewer than two."""
    rows = [row for group in self_assl_groups(results) for row in group.rows]
    found = [interval for row in rows if (interval := forms.ends(row.difference))]
    if len(found) < 2:
        return ""
    up, down = sum(low > 0 for low, _ in found), sum(high < 0 for _, high in found)
    return (
        f"The 95 % interval of the difference is above 0 for {up} of {len(found)}, and below 0 "
        f"for {down}."
    )


def second_line(results: Results) -> str:
    """What a second run without the penalty gains, the control for Self-ASSL; "" without one."""
    gained = [
        row.second_run.accuracy.mean - row.plain.accuracy.mean
        for group in self_assl_groups(results)
        for row in group.rows
        if row.second_run
    ]
    if not gained:
        return ""
    mean = forms.points(statistics.fmean(gained))
    average = " on average" if len(gained) > 1 else ""
    return f"A second run without the penalty: {mean} points{average} over the first."


def longer_line(results: Results) -> str:
    """A caution if f' was trained longer than f_p and there is no control for that; else ""."""
    rows = [row for group in self_assl_groups(results) for row in group.rows]
    continued = results.self_assl and results.self_assl.settings.get("init_from") == "f_p"
    if not continued or any(row.second_run for row in rows):
        return ""
    return (
        "f' was trained twice as long as f_p. To see what the longer training alone gains, add a "
        "second run without the penalty (self_assl.second_run=True)."
    )


def settings_line(results: Results) -> str:
    """The settings of Self-ASSL in one sentence; "" for other experiments."""
    settings = results.self_assl.settings if results.self_assl else {}
    phrases = [_phrase(key, value) for key, value in settings.items()]
    return f"Self-ASSL: {', '.join(filter(None, phrases))}." if any(phrases) else ""


def _phrase(setting: str, value: Any) -> str:
    match setting:
        case "weight":
            return f"weight {value:g}"
        case "floor":
            return f"down to a similarity of {value:g}" if value else ""
        case "layer":
            return f"layer {value}"
        case "estimator":
            return f"{value} estimator"
        case "queue":
            return f"queue of {value:g} d" if value else ""
        case "init_from":
            return f"f' starts from {value}"
        case "sign" | "standardise" | "use":
            return MEANINGS[setting].get(value, str(value))
    return ""


def difference_text(difference: Estimate) -> str:
    """A difference in points, with its interval."""
    found = forms.ends(difference)
    interval = f" [{forms.gain(found[0])}, {forms.gain(found[1])}]" if found else ""
    return forms.gain(difference.mean) + interval


def _accuracy(row: SelfASSLRow, variant: str) -> Estimate | None:
    evaluations = row.evaluations
    return evaluations[variant].accuracy if variant in evaluations else None


def _mean(row: SelfASSLRow, variant: str) -> float | None:
    accuracy = _accuracy(row, variant)
    return accuracy.mean if accuracy else None


def _printed(rank: int, group: SelfASSLGroup, row: SelfASSLRow) -> paper.Improvement | None:
    """The paper's values for a row; it has single tasks only."""
    return paper.improvement(rank, group.backbone, row.pool[0]) if len(row.pool) == 1 else None


def _printed_cells(values: paper.Improvement | None) -> list[str]:
    if values is None:
        return [forms.DASH] * 3
    plain, self_assl = forms.printed(values.plain), forms.printed(values.self_assl)
    return [plain, self_assl, forms.printed(values.difference, signed=True)]
