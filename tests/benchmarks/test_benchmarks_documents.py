"""README and docs tell of the runs on record, and the record of what today's rules keep."""

import pytest

from assl_jax.store import LocalStore
from benchmarks import documents, replay


@pytest.mark.parametrize("page", documents.BLOCKS)
def test_a_page_is_as_the_record_says(page):
    text = (documents.ROOT / page).read_text(encoding="utf-8")
    assert documents.MARKED.search(text)
    assert text == documents.current(page), "python -m benchmarks.documents"


@pytest.mark.parametrize("name", documents.DIGITS)
def test_todays_rules_decide_as_the_record_says(name, tmp_path):
    """The same rounds, the same network, and its probability."""
    scores, found = documents.on_record(name)
    run = replay.run_of(*documents.DIGITS[name], store=LocalStore(tmp_path))
    now = replay.replay(run, scores).search

    def moves(search):
        return [[move.network for move in each.moves] for each in search.rounds]

    assert moves(now) == moves(found.search) and now.stopped == found.search.stopped
    assert now.spent == pytest.approx(found.search.spent)
    for new, old in zip(now.standings, found.search.standings, strict=True):
        assert (new.network, new.divisions) == (old.network, old.divisions)
        assert new.probability == pytest.approx(old.probability, abs=0.02)
