"""What README and docs tell of the digits, made of the runs on record.

    python -m benchmarks.documents

writes it anew between `<!-- digits -->` and `<!-- /digits -->`. A test compares the documents with
the record, and the record with what today's rules keep. After a change of the rules run
`python -m benchmarks.reference --write` first.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from assl_jax.experiment import Run
from assl_jax.records import SCRATCH, Estimate, Network, Results, Search
from assl_jax.report.forms import mean_std, tenths
from assl_jax.report.names import Label
from assl_jax.strategies import pretraining
from assl_jax.strategies.finetuning import student_flops
from benchmarks import replay

ROOT = Path(__file__).parent.parent
RECORDS = Path(__file__).parent / "reference"
DIGITS = {  # name of the record: the config and its settings; the first one is the README's command
    f"digits{seed or ''}": ("mtassl_digits", *([f"seed={seed}", f"data.seed={seed}"] * bool(seed)))
    for seed in range(5)
}
PROCESSORS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
WIDTH = 110


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a run on record found.

    Attributes:
      search: its rounds and standings.
      over_scratch: the gain of the kept network, a share.
      pretraining: floating-point operations of all pretrainings and of the student.
      jax, instruction_set, commit: of the run.
    """

    search: Search
    over_scratch: Estimate
    pretraining: float
    jax: str
    instruction_set: str
    commit: str | None = None

    @property
    def kept(self) -> Network:
        return self.search.standings[0].network

    @property
    def accuracies(self) -> dict[Network, Estimate]:
        """On the test set, the kept network first."""
        return {each.network: each.evaluation.accuracy for each in self.search.standings}

    @property
    def best(self) -> Network:
        """On the test set; the kept one, if no other is better."""
        return max(self.accuracies, key=lambda network: self.accuracies[network].mean)

    @property
    def regret(self) -> float:
        """In points."""
        return 100 * (self.accuracies[self.best].mean - self.accuracies[self.kept].mean)


def found_by(run: Run, results: Results, environment: Mapping[str, Any]) -> Found:
    """What a finished run found.

    Raises:
      AssertionError: it made no rounds, or has no test set.
    """
    assert results.search and results.over_scratch
    study = run.studies[0]
    every = {each for n in results.networks for each in n.network.history}
    students = sum(each.objective == "student" for each in every)
    cost = sum(pretraining.flops_of(study, each) for each in every if each.trained)
    return Found(
        search=results.search,
        over_scratch=results.over_scratch,
        pretraining=cost + students * student_flops(study),
        **{name: environment[name] for name in ("jax", "instruction_set", "commit")},
    )


def on_record(name: str) -> tuple[replay.Scores, Found]:
    """The scores of a run of the digits, and what it found."""
    scores, facts = replay.read(RECORDS / f"{name}.npz")
    return scores, msgspec.convert(facts["found"], Found)


def title(network: Network) -> str:
    return Label.of(network).title


def readme() -> str:
    """The first table of the README's command, and what it shows."""
    lines = (RECORDS / "digits.md").read_text(encoding="utf-8").splitlines()[1:]
    second = next(i for i, line in enumerate(lines) if i > 1 and line.startswith("| ---")) - 1
    return "\n".join([*lines[:second], "", textwrap.fill(told(on_record("digits")[1]), WIDTH)])


def told(found: Found) -> str:
    """What a run found, in a few sentences."""
    gain = found.over_scratch
    mean, low, high = (100 * (value or 0) for value in (gain.mean, gain.low, gain.high))
    first = found.search.standings[0]
    test = (
        "It is also the best one on the test set, which the search never looks at"
        if found.best == found.kept
        else f"On the test set, which the search never looks at, {title(found.best)} is "
        f"{found.regret:.1f} points better. The kept one is"
    )
    processor = PROCESSORS[found.instruction_set.split()[-1]]
    return (
        f"The search keeps this network: {title(found.kept)}. By its own scores, it is the best "
        f"with a probability of {100 * first.probability:.0f} %. {test}: "
        f"{mean:.1f} points better than from scratch, with a 95 % interval "
        f"of {low:.1f} to {high:.1f}. Pretraining cost {found.pretraining / 1e12:.1f} TFLOP, the "
        f"student included, and all trainings together {found.search.spent / 1e12:.1f}. The "
        f"numbers are of JAX {found.jax} on a processor with {processor}. Another processor rounds "
        "otherwise, and may try other networks."
    )


def results() -> str:
    """A table of the runs on record, one row for each seed, and their mean regret."""
    founds = {name: on_record(name)[1] for name in DIGITS if (RECORDS / f"{name}.npz").exists()}
    head = ["seed", "scratch", "best task", "best of the rounds", "student", "kept", "regret"]
    head += ["probability", "pretraining and student (TFLOP)"]
    left = ("best task", "best of the rounds", "kept")
    align = ["---"] + ["---:" if h not in left else "---" for h in head[1:]]
    rows = [head, align, *(list(_row(name, found)) for name, found in founds.items())]
    mean = sum(found.regret for found in founds.values()) / len(founds)
    processors = {PROCESSORS[found.instruction_set.split()[-1]] for found in founds.values()}
    versions = {found.jax for found in founds.values()}
    text = (
        f"The mean regret is {mean:.1f} points. JAX {', '.join(versions)}, "
        f"{', '.join(processors)}; the best network of a row is bold."
    )
    return "\n".join([*("| " + " | ".join(row) + " |" for row in rows), "", text])


def _row(name: str, found: Found) -> Iterator[str]:
    accuracies = found.accuracies
    best = max(each.mean for each in accuracies.values())

    def cell(networks: Sequence[Network], titled: bool = True) -> str:
        if not networks:
            return "–"
        network = max(networks, key=lambda each: accuracies[each].mean)
        value = mean_std(accuracies[network], tenths)
        value = f"**{value}**" if accuracies[network].mean == best else value
        return f"{title(network)}: {value}" if titled else value

    students = [each for each in accuracies if each.objective == "student"]
    yield name.removeprefix("digits") or "0"
    yield cell([SCRATCH], titled=False)
    yield cell([each for each in accuracies if each.generation == 1])
    yield cell([each for each in accuracies if each.generation > 1 and each not in students])
    yield cell(students, titled=False)
    yield "the student" if found.kept in students else title(found.kept)
    yield f"{found.regret:.1f}"
    yield f"{found.search.standings[0].probability:.2f}"
    yield f"{found.pretraining / 1e12:.1f}"


BLOCKS = {"README.md": readme, "docs/results.md": results}
MARKED = re.compile(r"(<!-- digits -->\n).*?(<!-- /digits -->)", re.DOTALL)


def current(page: str) -> str:
    """A page as it must be."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return MARKED.sub(lambda m: f"{m[1]}{BLOCKS[page]()}\n{m[2]}", text)


def update() -> None:
    """Write all pages as they must be."""
    for page in BLOCKS:
        text = current(page)
        (ROOT / page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    update()
