"""What a run says before it starts: the images that were read, and the plan."""

from collections.abc import Sequence

from assl_jax.console import duration
from assl_jax.records import DataSummary
from assl_jax.report.table import Cell, Row, Table, text_lines
from assl_jax.strategies.outlook import Pace, Work

GIB = 2**30
CLASSES = 12  # that are listed with their numbers; of more, the smallest and the largest
LEFT_OUT = 20  # files that are named


def data_table(found: DataSummary) -> Table:
    """The images of every split: number, patients and classes."""
    space, channels = found.shape[:-1], found.shape[-1]
    size = f"{'x'.join(map(str, space))}, {channels} channel{'s' if channels > 1 else ''}"
    caption = f"Images of {found.name}: {size}, {found.dtype}"
    patients = any(split.patients is not None for split in found.splits.values())
    rows = []
    for name, split in found.splits.items():
        known = [Cell("" if split.patients is None else f"{split.patients:,}")] if patients else []
        rows.append(
            Row((Cell(name), Cell(_classes(split.classes)), Cell(f"{split.images:,}"), *known))
        )
    heads = ("Split", "Classes", "Images", *(["Patients"] if patients else []))
    return Table(caption, heads, tuple(rows), names=2)


def _classes(counts: dict[str, int]) -> str:
    if len(counts) <= CLASSES:
        return ", ".join(f"{name}: {n:,}" for name, n in counts.items()) or "not used"
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    return f"{len(counts)} classes of {counts[least]:,} ({least}) to {counts[most]:,} ({most})"


def data_lines(found: DataSummary) -> list[str]:
    """`data_table` as text, with what was left out and what looks odd."""
    table = data_table(found)
    lines = [table.caption, "", *text_lines(table)]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"left out: {file}" for file in found.skipped[:LEFT_OUT]]
    if more := len(found.skipped[LEFT_OUT:]):
        lines.append(f"left out: {more:,} more files, which the report names")
    return lines + [f"check: {sentence}" for sentence in found.odd]


def plan_lines(
    works: Sequence[Work], pace: Pace, then: str, follows: Sequence[Work] = ()
) -> list[str]:
    """The plan as text.

    Args:
      works: what the run begins with.
      pace: how fast the machine is.
      then: a sentence about what comes after `works`; not said where nothing follows.
      follows: that in numbers, at most.
    """

    def time(*works: Work) -> str:
        left = [work.flops for work in works if not work.finished]
        return duration(sum(left) / pace.flops_per_s) if left else "finished"

    rows = [
        Row(
            (Cell(work.title), Cell(f"{work.steps:,}"), Cell(f"{work.flops:.1e}"), Cell(time(work)))
        )
        for work in (*works, *follows)
    ]
    table = Table("", ("Plan", "Steps", "Operations", "Time"), tuple(rows))
    memory = [
        f"{n / GIB:.1f} GiB of memory of the {where}"
        for n, where in ((pace.host_bytes, "machine"), (pace.device_bytes, "accelerator"))
        if n
    ]
    takes = f", and {' and '.join(memory)}" if memory else ""
    begins = "The beginning takes" if follows else "Together"
    first = f"{begins} about {time(*works)}{takes}.{f' {then}' if follows else ''}".rstrip()
    return [
        *text_lines(table),
        "",
        first,
        *([f"The whole run takes at most about {time(*works, *follows)}."] if follows else []),
        "The times follow from a few timed steps and the operations, without compilation.",
    ]
