"""MT-ASSL: a search for the proxy tasks that make the best network together."""

import itertools

from assl_jax.records import SCRATCH, Best, Findings, Network
from assl_jax.strategies import algorithm1, pretraining, rounds
from assl_jax.strategies.candidates import STAY, climb, similarity_of
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.pricing import Work, together, total
from assl_jax.strategies.settings import SearchSettings
from assl_jax.strategies.stage import Plan


def search(evidence: Evidence, settings: SearchSettings) -> Plan:
    """Pretrain with every task alone, then make the best network better with the others.

    Every task is pretrained from scratch and fine-tuned, unless it is among the worse half at one
    of `settings.rungs`. What follows is `rounds.grow`, or with `settings.as_printed`
    `algorithm1.grow`.

    The candidates are the tasks of the study, of which earlier ones win ties, and its teachers,
    whose networks are given. Each pool of several has a task.

    Returns:
      `scratch`, `start`, `rungs`, `singles`, `similarity`, `best`, and `search` or `iterations`.
    """
    study = evidence.study
    rungs = yield from climb(evidence, settings)
    teachers = [name for name in study.members() if name in study.given]
    names = (*(rungs[-1].kept if rungs else study.tasks), *teachers)
    networks = [study.single(name) for name in names]
    yield from evidence.evaluated([*study.baselines, *networks])
    yield from evidence.compared(networks)
    singles = {name: evidence.evaluate(study.single(name)) for name in names}
    known = Findings(
        scratch=evidence.evaluate(SCRATCH),
        start=evidence.start(),
        rungs=rungs,
        singles=singles,
        similarity=similarity_of(evidence, names),
    )
    if settings.as_printed:
        grown = yield from algorithm1.grow(evidence, settings, singles)
        return known.replace(iterations=grown.iterations, best=_best(evidence, grown.kept))
    found = yield from rounds.grow(evidence, settings, [*study.baselines, *networks])
    return known.replace(search=found, best=_best(evidence, found.standings[0].network))


def at_most(evidence: Evidence, settings: SearchSettings) -> list[Work]:
    """What a search does at most after its first networks.

    That is: the better half of the tasks at every rung, of those whose steps cost most; then the
    rounds, or with the paper's rules a pool of each size.
    """
    study = evidence.study

    def cost(name: str) -> float:
        return pretraining.step_flops_of(study, study.single(name))

    names, works = sorted(study.tasks, key=cost, reverse=True), list[Work]()
    for share, later in itertools.pairwise((*settings.rungs, 1.0)):
        if len(names) <= STAY:
            break
        names = names[: (len(names) + 1) // 2]
        later = later if len(names) > STAY else 1.0
        further = [study.single(name, later) for name in names]
        works += together(f"after {share:g} of the steps, the better half", evidence, further)
    members = [*names, *(name for name in study.members() if name in study.given)]
    if not settings.as_printed:
        begun = [*study.baselines, *map(study.single, members)]
        return [*works, *rounds.at_most(evidence, settings, begun)]
    sizes = range(2, len(members) + 1)
    if not sizes:
        return works
    often = {k: len(members) - k + 1 if settings.candidates == "all" else 1 for k in sizes}
    each = {k: together("", evidence, [study.pool(members[:k])])[0] for k in sizes}
    every = [each[k] for k in sizes for _ in range(often[k])]
    return [*works, total(f"pools, at most {len(every)}", every)]


def _best(evidence: Evidence, kept: Network) -> Best:
    return Best(network=kept, evaluation=evidence.evaluate(kept))


def single(evidence: Evidence, kept: Network) -> Plan:
    """Pretrain and fine-tune one network, and train from scratch for comparison.

    Without labels, it is pretrained only.
    """
    study = evidence.study
    if not study.dataset.labelled_sets:
        yield [pretraining.spec(study, each) for each in study.repeats(kept)]
        return Findings(pretrained=kept)
    yield from evidence.evaluated(list(dict.fromkeys([kept, *study.baselines])))
    return Findings(
        scratch=evidence.evaluate(SCRATCH),
        start=evidence.start(),
        best=_best(evidence, kept),
    )
