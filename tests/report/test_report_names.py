"""Titles, colours and keys of networks."""

import pytest

from assl_jax.records import Finalist
from assl_jax.report import names
from assl_jax.report.names import SCRATCH, START, Label
from assl_jax.tasks import TASKS


@pytest.mark.parametrize(
    ("label", "shown", "title"),
    [
        ("scratch", SCRATCH, "From scratch"),
        ("vgg16/scratch", Label((), "scratch", "vgg16"), "VGG-16: From scratch"),
        ("start", START, "Start weights"),
        ("rotation+sc_assl", Label.trained("rotation", "sc_assl"), "Rotation + SC-ASSL"),
        (
            "vgg16/rotation.self_assl.seed2",
            Label(("rotation",), "self_assl", "vgg16", 2),
            "VGG-16: Rotation, Self-ASSL, pretraining 3",
        ),
        ("rotation.second_run", Label(("rotation",), "second_run"), "Rotation, second run"),
        ("src.seed1", Label(("src",), "plain", seed=1), "SRC, pretraining 2"),
        (
            "vgg16/src.part0.25.seed1",
            Label(("src",), "plain", "vgg16", 1, 0.25),
            "VGG-16: SRC, 25 % of its pretraining, pretraining 2",
        ),
        ("ours/rotation", Label(("rotation",), "plain", "ours"), "ours: Rotation"),
        ("ours.v2", Label.trained("ours.v2"), "ours.v2"),
        ("</script>", Label.trained("</script>"), "</script>"),
    ],
)
def test_labels(label, shown, title):
    assert Label.parse(label) == shown
    assert names.label_title(label) == shown.title == title


def test_a_network_of_a_record():
    longer = Finalist(pool=("src",), variant="longer", score=0.5, error=0.1)
    assert Label.of(longer).title == "SRC, as long as the pool"
    assert [Label.trained("src").single, Label.of(longer).single, SCRATCH.single] == [1, 0, 0]
    swapped = Label.trained("src", "mcpc"), Label.trained("mcpc", "src")
    assert swapped[0].key == swapped[1].key != Label.trained("src").key


def test_every_task_has_its_own_colour_and_a_pool_that_of_its_last():
    colours = [names.task_colour(task) for task in TASKS]
    assert len({*colours, SCRATCH.colour}) == len(TASKS) + 1
    assert Label.parse("vgg16/src+rotation.self_assl").colour == TASKS["rotation"].colour
    assert names.task_colour("a task of ours") == names.task_colour("a task of ours")
    assert names.task_title("a task of ours") == "a task of ours"
