"""A search of two rounds, whose numbers are easy to follow."""

from finished_runs import network as record
from networks import network_of
from reported import evaluation, extension, results

from assl_jax.records import SCRATCH, Best, Move, Network, Round, Search, Standing

SIMCLR, ROTATION, SRC = map(network_of, ("simclr", "rotation", "src"))


def on(network):
    """The network that goes on as before."""
    return network.replace(start=network)


def then(network, task):
    """The network that goes on with one more task."""
    tasks = (*network.tasks, task)
    return Network(tasks=tasks, objective="alternate", start=network)


JOINED = then(SIMCLR, "rotation")
ALL = then(JOINED, "src")
STUDENT = Network(objective="student", teachers=(JOINED, on(JOINED)))
# Test accuracy, cross-validation, estimate, its error and the probability, in %; compute in TFLOP.
NUMBERS = {
    JOINED: (76.0, 75.0, 74.5, 1.25, 55, 6),
    STUDENT: (77.0, 74.6, 74.25, 1.5, 30, 8),
    ALL: (74.5, 74.0, 73.5, 1.5, 10, 8),
    on(JOINED): (75.5, 74.2, 73.75, 1.5, 4.9, 8),
    on(SIMCLR): (73.0, 72.5, 72.25, 1.5, 0.1, 4),
    SIMCLR: (72.0, 71.0, 70.75, 1.5, 0, 2),
    on(ROTATION): (70.5, 70.5, 70.25, 1.5, 0, 8),
    ROTATION: (70.0, 69.0, 69.5, 1.5, 0, 2),
    SRC: (66.0, 65.0, 66.25, 1.5, 0, 2),
    SCRATCH: (60.0, 61.0, 62.5, 1.5, 0, 0),
}
TESTED = {n: evaluation(t, 0.5, selection=cv) for n, (t, cv, *_) in NUMBERS.items()}


def candidate(start, task, similarity, complement=None):
    found = TESTED.get(then(start, task))
    row = extension(start.members, task, similarity, found)
    return row.replace(complement=complement)


def move(start, network, gain, error, *, task="", added=(None, None)):
    """A move of a round; numbers are in points."""
    numbers = {"gain": gain, "error": error, "added": added[0], "added_error": added[1]}
    shares = {name: None if n is None else n / 100 for name, n in numbers.items()}
    return Move(task=task, start=start, network=network, **shares)


FIRST = Round(
    start=SIMCLR,
    candidates=(candidate(SIMCLR, "rotation", 0.0866), candidate(SIMCLR, "src", 0.21)),
    moves=(
        move(SIMCLR, JOINED, 4.0, 1.25, task="rotation", added=(2.5, 1.0)),
        move(SIMCLR, on(SIMCLR), 1.5, 1.0),
        move(ROTATION, on(ROTATION), -0.5, 1.5),
    ),
    criterion="lcka",
    expected=0.032,
)
SECOND = Round(
    start=JOINED,
    candidates=(candidate(JOINED, "src", 0.3, 0.125),),
    moves=(
        move(JOINED, ALL, -1.0, 0.5, task="src", added=(-0.2, 0.75)),
        move(JOINED, on(JOINED), -0.8, 0.6),
    ),
    criterion="complement",
    expected=0.002,
)


def standing(network):
    _, _, estimate, error, probability, _ = NUMBERS[network]
    return Standing(
        network=network,
        evaluation=TESTED[network],
        estimate=estimate / 100,
        error=error / 100,
        probability=probability / 100,
        divisions=3 if network in (JOINED, STUDENT) else 1,
    )


def searched(**changes):
    """Results of the search; `changes` are of its results."""
    order = sorted(NUMBERS, key=lambda network: -NUMBERS[network][2])
    found = {
        "scratch": TESTED[SCRATCH],
        "singles": {n.label: TESTED[n] for n in (SIMCLR, ROTATION, SRC)},
        "search": Search(
            rounds=(FIRST, SECOND),
            standings=tuple(map(standing, order)),
            stopped="gain",
            spent=60e12,
            budget=80e12,
        ),
        "best": Best(network=JOINED, evaluation=TESTED[JOINED]),
        "networks": [
            record("scratch", backbone="resnet18").replace(
                label=network.label, network=network, flops=numbers[-1] * 1e12
            )
            for network, numbers in NUMBERS.items()
        ],
    }
    return results(**found | changes)


def changed(results, **changes):
    """The results with another search; `changes` are of this."""
    return results.replace(search=results.search.replace(**changes))
