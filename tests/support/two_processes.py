"""Processes of Python on devices of their own, and two of them that are connected over loopback."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(*arguments, devices=1):
    """Python with these arguments, on CPU devices."""
    environment = {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
    }
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_two(arguments, *, devices=1, seconds=500):
    """Status, stdout and stderr of two processes; `arguments(coordinator, number)` are Python's."""
    coordinator = f"127.0.0.1:{free_port()}"
    both = [start(*arguments(coordinator, number), devices=devices) for number in range(2)]
    try:
        ends = [process.communicate(timeout=seconds) for process in both]
    finally:
        for process in both:
            process.kill()
    return [
        (process.returncode, re.sub(r"\[Gloo\].*\n", "", out), err)
        for process, (out, err) in zip(both, ends, strict=True)
    ]
