"""All that a GPU or TPU should be measured for, in one command and a given time.

    python -m benchmarks.accelerator [--minutes=8] [--only=step,proxy] [--json=accelerator.json]

Runs the benchmarks below one after the other, the most important ones first, with the sizes that
suit an accelerator. Needs no network. What does not end in time is stopped; what is left then does
not begin. Writes one JSON with the rows of each benchmark, its time, and the end of its output; it
is written anew after each, so that a machine that goes away loses one benchmark only. PyTorch is
needed for `step` and `torch` (`pip install -r benchmarks/requirements.txt`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import write

HALF = "--dtype=bfloat16"
# What is measured, each a command of `python -m`; {json} is where it writes its rows.
BENCHMARKS: dict[str, list[str]] = {
    # A whole step of each shape against torch.compile, channels last, autocast.
    "step": [
        *("benchmarks.train_step", HALF, "--batch=256", "--steps=20", "--repeats=5"),
        *("--shapes=96x96,32x32,28x28x28,16x48x48", "--json={json}"),
    ],
    # Images/s of every task, and the share of augmentation and tiling.
    "proxy": [
        *("benchmarks.pretrain", HALF, "--space=96x96x3", "--batch=128", "--steps=20"),
        *("--repeats=5", "--json={json}"),
    ],
    # How near each task's step comes to the rate of a plain matrix product.
    "roofline": [
        *("benchmarks.roofline", HALF, "--batch=128", "--product=16384", "--repeats=3"),
        "--json={json}",
    ],
    # LCKA and losses, the forms of convolutions, bfloat16, and training from a checkpoint.
    "tests": [
        *("pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"),
        *("-m", "not long and not soak"),
        *("tests/test_lcka.py", "tests/test_losses.py", "tests/models/test_models_conv.py"),
        *("tests/tasks/test_tasks_bfloat16.py", "tests/training/test_training_loop.py"),
    ],
    "lcka": ["benchmarks.lcka", "--repeats=3", "--memory_n=10000,100000", "--json={json}"],
    # Algorithm 1 at STL-10's size with few steps: seconds of a step and of what surrounds them.
    "search": [
        *("benchmarks.search", "--config=configs/mtassl_stl10.py", "--random=100000x96"),
        *("--set=backbone.dtype=bfloat16", "--set=pretrain.steps=200", "--set=target.steps=50"),
        *("--set=tasks=rotation,simclr", "--json={json}"),
    ],
    # SimCLR from end to end against a PyTorch loop that augments on the host.
    "torch": [
        *("benchmarks.pretrain", "--against=torch", HALF, "--batch=128", "--json={json}"),
    ],
    "feed": ["benchmarks.feed", HALF, "--repeats=5", "--json={json}"],
}
TAIL = 4000  # characters of the output that are kept


def run(
    benchmarks: Mapping[str, Sequence[str]],
    seconds: float,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run the commands until `seconds` have passed.

    Args:
      benchmarks: arguments of Python by name.
      seconds: for all together.
      report: called after each with all results so far.

    Returns:
      For each benchmark `status` ("done", "failed", "stopped" or "not begun"), `seconds`, `output`
      and `found`, the JSON that it wrote, or None.
    """
    end = time.monotonic() + seconds
    results: dict[str, Any] = {name: {"status": "not begun"} for name in benchmarks}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in benchmarks.items():
            if (left := end - time.monotonic()) <= 0:
                break
            file = Path(folder) / f"{name}.json"
            command = [
                sys.executable,
                "-m",
                *(each.replace("{json}", str(file)) for each in arguments),
            ]
            print(f"{name}: {' '.join(command[1:])}", flush=True)
            began = time.monotonic()
            status, output = _run(command, left)
            results[name] = {
                "status": status,
                "seconds": round(time.monotonic() - began, 1),
                "output": output[-TAIL:],
                "found": json.loads(file.read_text()) if file.exists() else None,
            }
            print(
                f"{output[-TAIL:]}\n{name}: {status} after {results[name]['seconds']} s", flush=True
            )
            report(results)
    return results


def platform() -> str:
    """The platform that JAX finds. Asked in a process of its own, which gives the device back."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _run(command: Sequence[str], seconds: float) -> tuple[str, str]:
    """How a command ended, and its output. A group of its own ends with all of its workers."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, _ = process.communicate()
            return "stopped", output
    return "failed" if process.returncode else "done", output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="names, in their order")
    parser.add_argument("--json", default="accelerator.json")
    args = parser.parse_args()
    names = args.only.split(",")
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"--only={min(unknown)} is unknown; one of {', '.join(BENCHMARKS)}")
    chosen = {name: BENCHMARKS[name] for name in names}
    found = platform()
    os.environ["JAX_PLATFORMS"] = found if found == "cpu" else f"{found},cpu"  # for the tests too
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # this process uses JAX as well
    results = run(
        chosen, 60 * args.minutes, lambda found: write(args.json, found, minutes=args.minutes)
    )
    print("\n" + "\n".join(f"{name}: {each['status']}" for name, each in results.items()))


if __name__ == "__main__":
    main()
