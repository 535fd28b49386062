"""The best task alone at the compute of the accepted pool, in every part of a report."""

import pytest

from assl_jax.records import (
    Best,
    Control,
    Estimate,
    Extension,
    Finalist,
    Iteration,
    LastWord,
    NetworkRecord,
    Rung,
)
from assl_jax.report import figures, sentences, tables

POOL, TITLE = ("simclr", "rotation"), "SimCLR, as long as the pool"


@pytest.fixture(params=[0.0123, 0.0, -0.0123])
def search(request, evaluation, results):
    """A search whose pool is better than its control, equally good, or worse."""
    pool, alone = evaluation(78.21, 0.4, selection=77), evaluation(77.5, 0.5, selection=76)
    extension = Extension(
        pool=POOL[:1], task=POOL[1], similarity=0.1, avg=0.7, max=0.73, evaluation=pool
    )
    best = Best(pool=POOL, evaluation=pool)
    if request.param < 0:
        best = Best(pool=POOL[:1], evaluation=alone, as_long_as=POOL)
    first, second = (("plain", POOL), ("longer", POOL[:1]))[:: 1 if request.param >= 0 else -1]
    left = [(*first, 0.77), (*second, 0.77 - abs(request.param)), ("plain", POOL[:1], 0.72)]
    finalists = [
        Finalist(pool=members, variant=variant, score=score, error=0.02)
        for variant, members, score in [*left, ("scratch", (), 0.6)]
    ]
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
        control=Control(pool=POOL[:1], as_long_as=POOL, evaluation=alone),
        last_word=LastWord(divisions=2, finalists=tuple(finalists)),
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
    kept = "SimCLR + Rotation" if search.best.as_long_as == () else TITLE
    assert [name for name, row in rows.items() if row.verdict == "chosen"] == [kept]
    # The best single task is strong too, and the control is no single task.
    assert rows["SimCLR"].cells[1].strong and not rows[TITLE].cells[1].strong


def test_sentences_tell_what_was_compared(search):
    *_, control, last, regret = sentences.search_trace(search)
    assert control == (
        "SimCLR alone, with all operations of SimCLR + Rotation and its parts, reached 76.00 % in "
        "cross-validation."
    )
    second = search.last_word.finalists[1].score
    titles = (
        ["SimCLR + Rotation", TITLE]
        if search.best.as_long_as == ()
        else [TITLE, "SimCLR + Rotation"]
    )
    assert last == (
        f"At the end (accuracy in %, mean over 2 divisions into folds): {titles[0]} 77.00, "
        f"{titles[1]} {100 * second:.2f}, SimCLR 72.00, From scratch 60.00. The first was kept. "
        f"It is {77 - 100 * second:.1f} ± 2.0 points better than the second."
    )
    assert regret.startswith("Of the 5 networks, ")


@pytest.mark.parametrize("divisions, where", [(1, "in cross-validation"), (0, "on the test set")])
def test_the_last_word_without_further_folds(search, divisions, where):
    word = search.last_word.replace(divisions=divisions)
    found = sentences.search_trace(search.replace(last_word=word))[-2]
    assert found.startswith(f"At the end (accuracy in %, {where}): ")


def test_where_nothing_beats_scratch_it_is_kept(search):
    best = Best(pool=(), evaluation=search.scratch, scratch=True)
    kept = search.replace(best=best, iterations=(), control=None, left_out=POOL)
    assert sentences.headline(kept).startswith(
        "Nothing beat training from scratch in cross-validation, so the search kept that network: "
        "63.2 ± 1.1 % ("
    )
    first, *_, regret = sentences.search_trace(kept)
    assert first.startswith(f"{sentences.pool_title(search.last_word.finalists[0].pool)} starts")
    assert "SimCLR is best on the test set; the one kept is 9.9 points below it" in regret
    rows = {row.cells[0].text: row.verdict for row in tables.headline_table(kept).rows}
    assert rows == {"From scratch": "chosen", "SimCLR": "", "Rotation": ""}


def test_the_regret_counts_scratch(search):
    better = search.replace(
        scratch=search.scratch.replace(metrics={"accuracy": Estimate(mean=0.8, std=0.0)})
    )
    assert "Of the 5 networks, From scratch is best" in sentences.search_trace(better)[-1]


def test_the_headline_names_what_was_kept(search):
    start = (
        "The search kept SimCLR + Rotation: 78.2"
        if search.best.as_long_as == ()
        else "The search kept SimCLR alone, trained as long as SimCLR + Rotation and its parts: 77"
    )
    assert sentences.headline(search).startswith(start)


def test_it_ends_the_chart(search):
    rows = figures.trained_pools(search)
    labels = [row.label.title for row in rows]
    assert labels[-1] == TITLE and len(labels) == len(set(labels))
    assert rows[-1].verdict == ("" if search.best.as_long_as == () else "accepted")


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
    only = halved.replace(iterations=(), control=None, last_word=None)
    assert sentences.search_trace(only)[0] == first
