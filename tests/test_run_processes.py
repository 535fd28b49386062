"""The whole program in two processes over loopback, on a tiny config."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = (
    "--config=configs/pretrain.py",
    "--config.tasks=mcpc",
    "--config.data.side=16",
    "--config.data.test=50",
    "--config.backbone.width=0.0625",
    "--config.pretrain.steps=6",
    "--config.pretrain.batch_size=8",
    "--config.target.steps=4",
    "--config.target.batch_size=8",
    "--config.target.seeds=2",
    "--config.similarity.n=64",
    "--config.checkpoint_every=4",
    "--config.log_every=3",
)


def start(*arguments, devices=1):
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, "main.py", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_two(*arguments):
    """Exit status, stdout and stderr of both."""
    port = free_port()
    join = (f"--coordinator=127.0.0.1:{port}", "--num_processes=2")
    both = [start(*arguments, *join, f"--process_id={number}") for number in range(2)]
    try:
        ends = [process.communicate(timeout=500) for process in both]
    finally:
        for process in both:
            process.kill()
    return [
        (process.returncode, re.sub(r"\[Gloo\].*\n", "", out), err)
        for process, (out, err) in zip(both, ends, strict=True)
    ]


@pytest.mark.long
def test_two_processes_write_what_one_writes(tmp_path):
    one = start(*TINY, f"--workdir={tmp_path / 'one' / 'work'}", devices=2)
    out, err = one.communicate(timeout=500)
    assert one.returncode == 0, err
    (first, said, told), (second, silent, quiet) = run_two(
        *TINY, f"--workdir={tmp_path / 'two' / 'work'}"
    )
    assert first == second == 0, (told, quiet)
    assert said.partition("Report:")[0] == out.partition("Report:")[0]
    assert "pretrain mcpc: 6/6" in told and silent == quiet == ""
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
    ends = run_two(*TINY, "--config.pretrain.batch_size=7", f"--workdir={tmp_path / 'new'}")
    for number, (status, out, err) in enumerate(ends):
        assert status == 2 and out == "", ends
        (line,) = [line for line in err.splitlines() if "error" in line]
        assert re.fullmatch(r"error: pretrain.batch_size=7 does not divide over 2.*", line), number
        assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--coordinator=127.0.0.1:1", "--num_processes=2"])
def test_flags_that_do_not_fit_together(tmp_path, flag):
    process = start(*TINY, flag, f"--workdir={tmp_path / 'new'}")
    out, err = process.communicate(timeout=500)
    assert process.returncode == 2 and out == "" and not (tmp_path / "new").exists()
    assert re.fullmatch(r"error: --coordinator=HOST:PORT, .* belong together; give all\n", err)
