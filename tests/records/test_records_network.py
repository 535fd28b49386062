"""The identity of a network, and what is made from it."""

import msgspec
import pytest

from assl_jax.records import SCRATCH, START, Network

SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
SIMCLR, TEACHER = Network(tasks=("simclr",)), Network(given="wise")
BEGUN = Network(given=START)
POOL = Network(tasks=("rotation", "src"), objective="alternate")
DISTILLED = Network(tasks=("src",), objective="distil", start=SRC, teachers=(ROTATION, TEACHER))
AGAIN = Network(tasks=("src",), objective="second_run", start=SRC, teachers=(SRC,))
AWAY = AGAIN.replace(objective="self_assl", start=None)
BOTH = Network(objective="side_by_side", teachers=(SRC, AWAY))
THEN = ROTATION.replace(start=SIMCLR)  # SimCLR, then with Rotation
ON = Network(tasks=("rotation", "simclr"), objective="alternate", start=THEN)  # then on
DISTILLED_ON = DISTILLED.replace(start=DISTILLED)
EXTENDED = DISTILLED_ON.replace(start=SRC.replace(start=SRC), teachers=(ROTATION,))
LATER = DISTILLED_ON.replace(teachers=(*DISTILLED.teachers, SIMCLR))
PUPIL = Network(objective="student", teachers=(SRC, ROTATION))
HEIR = Network(objective="student", teachers=(SRC, THEN))

# The network, its label, its title, its members and its generation.
NETWORKS = {
    "scratch": (SCRATCH, "scratch", "From scratch", (), 0),
    "start weights": (BEGUN, "start", "Start weights", (), 0),
    "a teacher": (TEACHER, "wise", "wise", ("wise",), 0),
    "a task": (SRC, "src", "src", ("src",), 1),
    "from start weights": (SRC.replace(start=BEGUN), "src", "src", ("src",), 1),
    "a pool": (POOL, "rotation+src", "rotation + src", ("rotation", "src"), 1),
    "distilled": (
        *(DISTILLED, "src+rotation+wise", "src + rotation + wise"),
        *(("src", "rotation", "wise"), 2),
    ),
    "at a rung": (
        *(SRC.replace(share=0.25), "src.part0.25", "src, 25 % of its pretraining", ("src",), 1),
    ),
    "again": (AGAIN, "src.second_run", "src, second run", ("src",), 2),
    "Self-ASSL": (AWAY, "src.self_assl", "src, Self-ASSL", ("src",), 2),
    "side by side": (BOTH, "src.self_assl", "src, Self-ASSL", ("src",), 2),
    "then another": (
        *(THEN, "simclr.then_rotation", "simclr, then rotation", ("simclr", "rotation"), 2),
    ),
    "continued": (
        *(ON, "simclr.then_rotation.continued", "simclr, then rotation, continued"),
        *(("simclr", "rotation"), 3),
    ),
}
# Distilled networks that go on, that begin with one that went on, and that learn from one more.
NETWORKS |= {
    "distilled, continued": (
        *(DISTILLED_ON, "src+rotation+wise.continued", "src + rotation + wise, continued"),
        *(("src", "rotation", "wise"), 3),
    ),
    "on, then another": (
        *(EXTENDED, "src.continued.then_rotation", "src, continued, then rotation"),
        *(("src", "rotation"), 3),
    ),
    "distilled, then another": (
        *(LATER, "src+rotation+wise.then_simclr", "src + rotation + wise, then simclr"),
        *(("src", "rotation", "wise", "simclr"), 3),
    ),
}
# Students, of which a title with a comma stands in brackets.
NETWORKS |= {
    "a student": (
        *(PUPIL, "src+rotation.student", "Student of src and rotation"),
        *(("src", "rotation"), 1),
    ),
    "a student of one that went on": (
        *(
            HEIR,
            "src+simclr.then_rotation.student",
            "Student of src and (simclr, then rotation)",
        ),
        *(("src", "simclr", "rotation"), 2),
    ),
}
EVERY = pytest.mark.parametrize(
    "network, label, title, members, generation", NETWORKS.values(), ids=NETWORKS
)


@EVERY
def test_what_is_made_from_an_identity(network, label, title, members, generation):
    assert (network.label, network.title(), network.members) == (label, title, members)
    assert network.generation == generation
    assert network.trained == bool(network.tasks)
    assert network.has_weights == (network not in (SCRATCH, BOTH, PUPIL, HEIR))
    # Other names for readers; "From scratch" has none.
    named = network.title({"src": "SRC", "wise": "Wise"}.get) if label == "src" else "SRC"
    assert named == "SRC"


@EVERY
def test_it_is_written_whole_and_read_back_equal(network, label, title, members, generation):
    written = msgspec.json.encode(network)
    again = msgspec.json.decode(written, type=Network)
    assert again == network and hash(again) == hash(network)
    assert b"null" not in written  # only what is set


@EVERY
def test_it_is_repeated_with_all_that_it_builds_on(network, label, title, members, generation):
    other = network.repeated(1)
    assert other.repeated(0) == network == network.repeated(0)
    seeds = {each.seed for each in other.history if each.trained}
    assert seeds == ({1} if generation else set())
    assert {each.seed for each in other.history if each.given} <= {0}
    assert other.label == (f"{label}.seed1" if generation else label)
    assert other.title() == (f"{title}, pretraining 2" if generation else title)
    assert (other.members, other.generation) == (members, generation)


def test_parents_come_once_and_the_history_is_whole():
    assert SCRATCH.parents == SRC.parents == TEACHER.parents == ()
    assert DISTILLED.parents == (SRC, ROTATION, TEACHER)
    assert AGAIN.parents == (SRC,) == AWAY.parents
    assert list(ON.history) == [ON, THEN, SIMCLR]
    assert list(BOTH.history) == [BOTH, SRC, AWAY, SRC]
    assert (AGAIN.trained_again, AWAY.trained_again) == (True, True)
    assert not any(each.trained_again for each in (POOL, DISTILLED, ON, BOTH))


def test_identities_differ_in_every_part():
    assert len({each for each, *_ in NETWORKS.values()}) == len(NETWORKS)
    assert Network(tasks=("src",), seed=1) != SRC != Network(tasks=("src",), objective="joint")
