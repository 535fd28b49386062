"""The table of `tests/files/errors.md` as a whole; the files beside this one check its rows."""

import re
from pathlib import Path


def test_every_topic_has_a_file(rows):
    files = Path(__file__).parent.glob("test_errors_*.py")
    topics = {t for f in files for t in re.findall(r'^TOPIC = "(.*)"$', f.read_text(), re.M)}
    assert topics == set(rows) and len(topics) > 9


def test_there_are_many_rows_and_none_says_nothing(rows):
    assert sum(map(len, rows.values())) > 400
    for topic, messages in rows.items():
        for words, message in messages.items():
            assert len(message.replace("…", "")) > 19, (topic, words)
