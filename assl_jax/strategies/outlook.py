"""What may follow the networks that an experiment begins with, and how much of a run is left."""

import itertools
import time
from collections.abc import Sequence

from assl_jax import console
from assl_jax.records import Pretrained
from assl_jax.strategies.finetuning import FOR_RATES
from assl_jax.strategies.mtassl import STAY
from assl_jax.strategies.network import Network
from assl_jax.strategies.plan import Pace, Work, finetuning, works_of
from assl_jax.strategies.settings import ACCEPT, SearchSettings
from assl_jax.strategies.stages import Stage, finished_at
from assl_jax.strategies.study import Study

KNOWN = 0.1  # share of the work for which the pace of the plan counts, beside what is measured


def together(title: str, study: Study, networks: Sequence[Network]) -> list[Work]:
    """The pretrainings and fine-tunings of further networks, as one piece of work."""
    return _joined(title, [work for network in networks for work in works_of(study, network)])


def of_search(
    study: Study, tasks: Sequence[str], teachers: Sequence[str], settings: SearchSettings
) -> list[Work]:
    """What a search does at most after its first networks.

    That is: the better half of the tasks at every rung, then a pool of each size, of the tasks
    whose steps cost most, and the control of the largest pool.
    """

    def cost(name: str) -> float:
        return study.pretraining.mixing.flops_of_a_step(Network((name,)))

    names, works = sorted(tasks, key=cost, reverse=True), []
    for share, later in itertools.pairwise((*settings.rungs, 1.0)):
        if len(names) <= STAY:
            break
        names = names[: (len(names) + 1) // 2]
        later = later if len(names) > STAY else 1.0
        further = [Network((name,), share=later) for name in names]
        works += together(f"after {share:g} of the steps, the better half", study, further)
    members = [*names, *teachers]
    sizes = range(2, len(members) + 1)
    if not sizes:
        return works
    often = {k: len(members) - k + 1 if settings.candidates == "all" else 1 for k in sizes}
    pools = [Network(tuple(members[:k])) for k in sizes for _ in range(often[k])]
    works += together(f"pools, at most {len(pools)}", study, pools)
    if settings.control:
        singles = [works_of(study, Network((name,)))[0] for name in names]
        title = "one task as long as the largest pool"
        works += _joined(title, [*singles, *works_of(study, pools[-1])])
    # The last word compares the first network, a pool of each size, the control and the baselines
    # on a division for each size.
    left = 1 + len(sizes) + settings.control + settings.gate * len(study.baselines)
    further_folds = settings.select_on == "cv" and ACCEPT[settings.accept] is not None
    times = left * len(sizes) * len(study.pretraining.repeats(pools[-1])) * further_folds
    steps, flops = finetuning(study, [*study.evaluating.folds(1).values()] if times else [])
    again = Work("comparisons on further folds", times * steps, times * flops, False)
    return [*works, again] if again.steps else works


def _joined(title: str, works: Sequence[Work]) -> list[Work]:
    finished = all(work.finished for work in works)
    one = Work(title, sum(w.steps for w in works), sum(w.flops for w in works), finished)
    return [one] if one.steps else []


class Outlook:
    """How much of a run is left, at least and at most; it learns from the stages that end."""

    def __init__(
        self, study: Study, begins: Sequence[Work], follows: Sequence[Work], pace: Pace
    ) -> None:
        """Begin to count, with the plan of a run."""
        left = [sum(w.flops for w in ws if not w.finished) for ws in (begins, follows)]
        self._least, self._most = left[0], sum(left)
        self._pace, self._done = pace, 0.0
        self._began, self._clock = time.time_ns(), time.monotonic()
        evaluating, rates = study.evaluating, study.evaluating.settings
        runs = {"finetune": evaluating.test_runs(), "select": evaluating.folds()}
        if rates.chooses_rate:
            runs["rate"] = evaluating.folds(FOR_RATES)
        self._kinds = {kind: finetuning(study, [*r.values()])[1] for kind, r in runs.items()}

    def finished(self, stage: Stage) -> None:
        """Count a stage, unless the plan knew that it is finished."""
        if finished_at(stage.folder) >= self._began:
            result = stage.record.result
            own = result.flops if isinstance(result, Pretrained) else None
            self._done += self._kinds.get(stage.record.kind, 0.0) if own is None else own
            self.tell()

    def tell(self) -> None:
        """Say to the console how much is left."""
        known = KNOWN * self._most  # so that one short stage does not decide alone
        seconds = known / self._pace.flops_per_s + time.monotonic() - self._clock
        a_flop = seconds / (known + self._done) if self._most else 0.0
        console.expect(*(a_flop * max(0.0, n - self._done) for n in (self._least, self._most)))
