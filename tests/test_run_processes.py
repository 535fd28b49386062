"""The whole program in two processes over loopback, on a tiny config."""

import json
import re

import pytest
from two_processes import run_two, start
from whole_runs import TINY as SEARCH

TINY = (
    *("--config=configs/pretrain.py", "--config.tasks=mcpc"),
    *(setting for setting in SEARCH[1:] if "tasks" not in setting),
)


def both(*arguments):
    """Exit status, stdout and stderr of both."""

    def join(coordinator, number):
        own = f"--coordinator={coordinator}", "--num_processes=2", f"--process_id={number}"
        return "main.py", *arguments, *own

    return run_two(join)


@pytest.mark.long
def test_two_processes_write_what_one_writes(tmp_path):
    one = start("main.py", *TINY, f"--workdir={tmp_path / 'one' / 'work'}", devices=2)
    out, err = one.communicate(timeout=500)
    assert one.returncode == 0, err
    (first, said, told), (second, silent, quiet) = both(
        *TINY, f"--workdir={tmp_path / 'two' / 'work'}"
    )
    assert first == second == 0, (told, quiet)
    assert said.partition("Report:")[0] == out.partition("Report:")[0]
    assert "pretrain mcpc: 12/12" in told and silent == quiet == ""
    a, b = (tmp_path / run / "work" / "results.json" for run in ("one", "two"))
    assert a.read_bytes() == b.read_bytes()
    environment = json.loads((b.parent / "environment.json").read_text())
    assert environment["devices"].startswith("2 x")
    names = [
        sorted(
            str(p.relative_to(tmp_path / run)).rpartition("events")[0] or str(p.name)
            for p in (tmp_path / run).rglob("*")
            if p.is_file() and not {"compiled", "d", "ocdbt.process_0"} & set(p.parts)
        )
        for run in ("one", "two")
    ]
    assert names[0] == names[1]  # nobody has written a second time, or left something behind


@pytest.mark.slow
def test_a_mistake_in_data_ends_both_with_one_line(tmp_path):
    ends = both(*TINY, "--config.pretrain.batch_size=7", f"--workdir={tmp_path / 'new'}")
    for number, (status, out, err) in enumerate(ends):
        assert status == 2 and out == "", ends
        (line,) = [line for line in err.splitlines() if "error" in line]
        assert re.fullmatch(r"error: pretrain.batch_size=7 does not divide over 2.*", line), number
        assert "Traceback" not in err
    assert not (tmp_path / "new").exists()
