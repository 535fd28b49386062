"""The best task alone at the compute of the accepted pool, in every part of a report."""

import pytest

from assl_jax.records import Best, Control, Estimate, Extension, Iteration, NetworkRecord, Rung
from assl_jax.report import figures, sentences, tables

POOL, TITLE = ("simclr", "rotation"), "SimCLR, as long as the pool"


@pytest.fixture(params=[0.0123, 0.0, -0.0123])
def search(request, evaluation, results):
    """A search whose pool is better than its control, equally good, or worse."""
    pool, alone = evaluation(78.21, 0.4, selection=77), evaluation(77.5, 0.5, selection=76)
    extension = Extension(
        pool=POOL[:1], task=POOL[1], similarity=0.1, avg=0.7, max=0.73, evaluation=pool
    )
    control = Control(
        pool=POOL[:1],
        as_long_as=POOL,
        evaluation=alone,
        gain=request.param,
        error=0.02,
        over_start=0.05,
        over_start_error=0.01,
        needed=0.01,
    )
    best = Best(pool=POOL, evaluation=pool)
    if request.param < 0:
        best = Best(pool=POOL[:1], evaluation=alone, as_long_as=POOL)
    network = {"pool": POOL[:1], "backbone": "resnet18", "finetune": "f", "pretrain": "p"}
    return results(
        scratch=evaluation(63.19, 1.1, selection=62),
        singles={
            "simclr": evaluation(73.05, selection=72),
            "rotation": evaluation(70, selection=69),
        },
        iterations=(
            Iteration(pool=POOL[:1], candidates=(extension,), chosen=POOL[1], accepted=True),
        ),
        control=control,
        best=best,
        networks=(
            NetworkRecord(label="simclr", variant="plain", flops=1e12, **network),
            NetworkRecord(label="simclr.longer", variant="longer", flops=2e12, **network),
        ),
    )


def test_it_has_its_own_row_and_cost(search):
    rows = {row.cells[0].text: row for row in tables.headline_table(search).rows}
    assert list(rows) == ["From scratch", "SimCLR", "Rotation", "SimCLR + Rotation", TITLE]
    assert [rows[name].cells[-1].text for name in ("SimCLR", TITLE)] == ["1.0", "2.0"]
    assert rows[TITLE].cells[1].text == "77.50 ± 0.50"
    kept = "SimCLR + Rotation" if search.control.gain >= 0 else TITLE
    assert [name for name, row in rows.items() if row.verdict == "chosen"] == [kept]
    # The best single task is strong too, and the control is no single task.
    assert rows["SimCLR"].cells[1].strong and not rows[TITLE].cells[1].strong


def test_a_sentence_tells_what_was_compared(search):
    *_, sentence, regret = sentences.search_trace(search)
    gain = search.control.gain
    size = "0.0 ± 2.0" if gain == 0 else "1.2 ± 2.0"
    assert sentence == (
        "SimCLR alone, with all operations of SimCLR + Rotation and its parts, reached 76.00 % in "
        f"cross-validation. Paired by image on further folds, the pool is {size} points "
        f"{'better' if gain >= 0 else 'worse'} than that network. The better of the two is 5.0 ± "
        "1.0 points better than SimCLR of the beginning (it needed 1.0 points), so "
        f"{'SimCLR + Rotation' if gain >= 0 else 'SimCLR with all these operations'} was kept."
    )
    assert regret.startswith("Of the 4 pretrained networks, ")


def test_a_sentence_tells_that_the_network_of_the_beginning_was_kept(search):
    control = search.control.replace(over_start=-0.03, needed=0.0)
    best = Best(pool=POOL[:1], evaluation=search.singles["simclr"])
    *_, sentence, _ = sentences.search_trace(search.replace(control=control, best=best))
    assert sentence.endswith(
        "The better of the two is 3.0 ± 1.0 points worse than SimCLR of the beginning, so SimCLR "
        "of the beginning was kept."
    )


def test_the_headline_names_what_was_kept(search):
    start = (
        "Algorithm 1 chose SimCLR + Rotation: 78.2"
        if search.control.gain >= 0
        else "The search kept SimCLR alone, trained as long as SimCLR + Rotation and its parts: 77"
    )
    assert sentences.headline(search).startswith(start)


def test_it_ends_the_chart(search):
    rows = figures.trained_pools(search)
    labels = [row.label.title for row in rows]
    assert labels[-1] == TITLE and len(labels) == len(set(labels))
    assert rows[-1].verdict == ("" if search.control.gain >= 0 else "accepted")


def test_the_rungs_come_first(search):
    names, means = ("simclr", "src", "rotation"), (2.25, 2.3, 2.3123)
    values = {n: Estimate(mean=m, std=0.0) for n, m in zip(names, means, strict=True)}
    rung = Rung(share=0.25, values=values, kept=("rotation", "simclr"))
    halved = search.replace(rungs=(rung,), metric="log_loss")
    first, second, *_ = sentences.search_trace(halved)
    assert first == (
        "After 25 % of the pretraining (log loss in cross-validation): SimCLR 2.250, SRC 2.300, "
        "Rotation 2.312. SimCLR and Rotation went on."
    )
    assert second.startswith("SimCLR starts the pool")
    accuracy = sentences.search_trace(halved.replace(metric="accuracy"))[0]
    assert "(accuracy in % in cross-validation): SimCLR 225.00" in accuracy
    only = halved.replace(iterations=(), control=None)
    assert sentences.search_trace(only)[0] == first
