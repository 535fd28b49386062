"""What is known before a run: the images that were read, the settings, and the plan."""

from collections.abc import Iterator, Sequence

from assl_jax.console import duration
from assl_jax.records import BACKBONE_FOLDER, SCRATCH, DataSummary, flat_settings
from assl_jax.report.columns import Column, tabulate
from assl_jax.report.record import RunRecord
from assl_jax.report.terminal import table_lines
from assl_jax.sections import Command, Facts, Folded, Listing, Part, Shown, Table, Text
from assl_jax.strategies.outlook import Pace
from assl_jax.strategies.pricing import Work
from assl_jax.training.memory import GIB
from assl_jax.words import say

CLASSES = 12  # that are listed with their numbers; of more, the smallest and the largest
LEFT_OUT = 20  # files that are named before a run
OPEN = 10  # up to so many are listed on the page without a click


def images(run: RunRecord) -> Iterator[Part | None]:
    """The images of every split, and how they were read."""
    if found := run.results.images:
        yield data_table(found)
        yield Listing(found.notes)


def skipped(run: RunRecord) -> Iterator[Part]:
    """The files that were left out, with reasons."""
    if files := run.results.skipped:
        yield Folded((Listing(files),), say("files", n=len(files)), open=len(files) <= OPEN)


def environment(run: RunRecord) -> Iterator[Part]:
    """The command, versions and devices, and every setting below."""
    best, facts = run.results.best, dict(run.environment)
    yield Command(facts.pop("command", ""))
    yield Facts(facts)
    if best and best.network != SCRATCH:
        yield Text((say("environment.backbone", folder=BACKBONE_FOLDER),))
    if run.config:
        yield Folded((Facts(flat_settings(run.config)),), say("environment.settings"))


def data_table(found: DataSummary) -> Table | None:
    """The images of every split: number, patients and classes."""
    size, n = "x".join(map(str, found.shape[:-1])), found.shape[-1]
    columns = [
        Column(say("images.head.split"), lambda part: part[0]),
        Column(say("images.head.classes"), lambda part: _classes(part[1].classes)),
        Column(say("images.head.images"), lambda part: f"{part[1].images:,}"),
    ]
    if any(split.patients is not None for split in found.splits.values()):
        columns.append(Column(say("images.head.patients"), lambda part: _number(part[1].patients)))
    caption = say("images.caption", name=found.name, size=size, n=n, dtype=found.dtype)
    parts = list(found.splits.items())
    return tabulate(caption, columns, [parts], names=2, opens=False, shown=Shown.PAGE)


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _classes(counts: dict[str, int]) -> str:
    if len(counts) <= CLASSES:
        listed = ", ".join(f"{name}: {n:,}" for name, n in counts.items())
        return listed or say("images.unused")
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    ends = {"rarest": least, "least": counts[least], "commonest": most, "most": counts[most]}
    return say("images.classes", number=len(counts), **ends)


def data_lines(found: DataSummary) -> list[str]:
    """`data_table` as text, with what was left out and what looks odd."""
    table = data_table(found)
    lines = [table.caption, "", *table_lines(table)] if table else []
    lines += [say("images.note", sentence=note) for note in found.notes]
    lines += [say("images.left_out", file=file) for file in found.skipped[:LEFT_OUT]]
    if more := len(found.skipped[LEFT_OUT:]):
        lines.append(say("images.more", number=more))
    return lines + [say("images.check", sentence=sentence) for sentence in found.odd]


def plan_lines(
    works: Sequence[Work], pace: Pace, then: str, follows: Sequence[Work] = ()
) -> list[str]:
    """The plan as text: what the run begins with, and what `follows` at most.

    The sentence `then` is about what follows; it is not said where nothing does.
    """

    def time(*works: Work) -> str:
        left = [work.flops for work in works if not work.finished]
        return duration(sum(left) / pace.flops_per_s) if left else say("plan.finished")

    columns = [
        Column(say("plan.head.work"), lambda work: work.title),
        Column(say("plan.head.steps"), lambda work: f"{work.steps:,}"),
        Column(say("plan.head.compute"), lambda work: f"{work.flops:.1e}"),
        Column(say("plan.head.time"), time),
    ]
    table = tabulate("", columns, [(*works, *follows)], opens=False)
    memory = say("and").join(
        say("plan.memory", gib=n / GIB, where=say(f"plan.{where}"))
        for where, n in {"machine": pace.host_bytes, "accelerator": pace.device_bytes}.items()
        if n
    )
    first = say(
        "plan.begins" if follows else "plan.together",
        time=time(*works),
        memory=f", and {memory}" if memory else "",
        then=then,
    )
    lines = ["", first.rstrip()]
    if follows:
        lines.append(say("plan.most", time=time(*works, *follows)))
    return [*(table_lines(table) if table else []), *lines, say("plan.note")]
