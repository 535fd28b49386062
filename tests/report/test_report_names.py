"""Titles, colours and keys of networks."""

import pytest
from networks import network_of

from assl_jax.records import Network
from assl_jax.report import names
from assl_jax.report.names import SCRATCH, START, Label
from assl_jax.tasks import TASKS, describe

LONG = network_of("src.part0.25.seed1")
WORDS = "VGG-16: SRC, 25 % of its pretraining, pretraining 2"
AGAIN = network_of("rotation.self_assl.seed2")


@pytest.mark.parametrize(
    ("network", "backbone", "label", "title"),
    [
        (network_of("scratch"), "", SCRATCH, "From scratch"),
        (network_of("scratch"), "vgg16", Label((), "scratch", "vgg16"), "VGG-16: From scratch"),
        (network_of("start"), "", START, "Start weights"),
        (network_of("a+sc_assl"), "", Label.trained("sc_assl", "a"), "a + SC-ASSL"),
        (network_of("src.second_run"), "", Label(("src",), "second_run"), "SRC, second run"),
        (
            AGAIN,
            "vgg16",
            Label(("rotation",), "self_assl", "vgg16", 2),
            "VGG-16: Rotation, Self-ASSL, pretraining 3",
        ),
        (LONG, "vgg16", Label(("src",), "plain", "vgg16", 1, 0.25), WORDS),
        (network_of("rotation"), "ours", Label(("rotation",), "plain", "ours"), "ours: Rotation"),
        (Network(tasks=("</script>",)), "", Label.trained("</script>"), "</script>"),
    ],
)
def test_labels(network, backbone, label, title):
    found = Label.of(network, backbone)
    assert found == label and found.title == title
    if not backbone:
        assert network.title(names.task_title) == title


def test_what_is_equal():
    again = Label.of(network_of("src.second_run"))
    assert [Label.trained("src").single, again.single, SCRATCH.single] == [1, 0, 0]
    swapped = Label.trained("src", "mcpc"), Label.trained("mcpc", "src")
    assert swapped[0].key == swapped[1].key != Label.trained("src").key


def test_every_task_has_its_own_colour_and_a_pool_that_of_its_last():
    colours = [describe(task).colour for task in TASKS]
    assert len({*colours, SCRATCH.colour}) == len(TASKS) + 1
    assert Label(("src", "rotation"), "self_assl", "vgg16").colour == TASKS["rotation"].colour
    assert describe("a task of ours").colour == describe("a task of ours").colour
    assert names.task_title("a task of ours") == "a task of ours"
