"""How long a run takes to start, phase by phase, and how often its steps are traced.

    python -m benchmarks.startup [--repeats=5]

1. Imports in new interpreters.
2. From the command to the end of the first training step (configs/pretrain.py: rotation on the
   digits, quarter-width ResNet-10): once without compiled programs, and once with those that the
   first run kept.
3. A small search (two tasks, several epochs, folds and seeds): how often each step function ran,
   and how often it was traced. The expected number of traces is one.

Prints three tables and writes startup.json.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import spread, table, write

IMPORTS = {
    "an empty interpreter": "pass",
    "import assl_jax": "import assl_jax",
    "import jax": "import jax",
    "the tasks and backbones": "import assl_jax.tasks, assl_jax.models",
    "everything that a run needs": "import main, assl_jax.experiment",
}
SEARCH = {
    **{"tasks": "src,rotation", "data.side": 16, "data.test": 50, "backbone.width": 0.0625},
    **{"pretrain.steps": 16, "pretrain.batch_size": 128, "similarity.n": 64, "log_every": 4},
    **{"target.steps": 6, "target.batch_size": 32, "target.seeds": 2, "target.folds": 2},
}


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall time of a command."""
    began = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def imports(repeats: int) -> list[dict[str, Any]]:
    """Wall time of interpreters that import something, in turns."""
    times: dict[str, list[float]] = {what: [] for what in IMPORTS}
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    for turn in range(repeats + 1):
        for what, program in IMPORTS.items():
            taken = seconds([sys.executable, "-c", program], environment)
            if turn:  # turn 0 reads the files from the disk
                times[what].append(taken)
    return [{"what": what, **_rounded(spread(t))} for what, t in times.items()]


def first_step(repeats: int, width: float) -> list[dict[str, Any]]:
    """Seconds of each phase up to the first step, without and with kept programs."""
    runs: dict[str, list[dict[str, float]]] = {"cold": [], "kept": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for how in runs:
                runs[how].append(
                    _child("first", f"{folder}/{how}", f"--width={width}", f"--began={time.time()}")
                )
    return [
        {
            "start": how,
            **{f"{phase} (s)": statistics.median([run[phase] for run in of]) for phase in of[0]},
        }
        for how, of in runs.items()
    ]


def traces() -> list[dict[str, Any]]:
    """Steps and traces of each step function of a search."""
    with tempfile.TemporaryDirectory() as folder:
        return _child("search", f"{folder}/run")


def _child(which: str, workdir: str, *options: str) -> Any:
    """Run this file in its own process; returns the JSON that it prints last."""
    command = [sys.executable, "-m", "benchmarks.startup", f"--child={which}", *options]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    run = subprocess.run(
        [*command, f"--workdir={workdir}"],
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def _run(name: str, changes: dict[str, Any], workdir: Path) -> None:
    config = importlib.import_module(f"configs.{name}").get_config()
    config.update_from_flattened_dict(changes)
    typed = importlib.import_module("assl_jax.config_reading").typed
    importlib.import_module("assl_jax.experiment").run(typed(config), workdir)


def child_first(workdir: Path, width: float, began: float) -> None:
    """In a child: a run that ends after its first step and prints the time of each phase."""
    now = {"start": began}
    importlib.import_module("main")  # what the command imports
    from assl_jax.config import DataSettings
    from assl_jax.training import loop

    now["imports"] = time.time()
    load, make_step = DataSettings.load, loop.make_step

    def timed_load(settings: DataSettings) -> Any:
        data = load(settings)
        now["data"] = time.time()
        return data

    def timed_make_step(*args: Any, **named: Any) -> Any:
        now["initialisation and checkpoints"] = time.time()
        step = make_step(*args, **named)

        def run(*args: Any) -> Any:
            import jax

            lowered = step.lower(*args)  # type: ignore[attr-defined]  # jit's own method
            now["tracing and lowering"] = time.time()
            compiled = lowered.compile()
            now["compiling"] = time.time()
            jax.block_until_ready(compiled(*args))
            now["first step"] = time.time()
            moments = list(now.values())
            phases = dict(zip(list(now)[1:], _differences(moments), strict=True))
            print("\n" + json.dumps(phases | {"in all": moments[-1] - began}), flush=True)
            os._exit(0)  # at once: nothing else is measured, and the folder is temporary

        return run

    DataSettings.load = timed_load  # type: ignore[assignment]  # to time it
    loop.make_step = timed_make_step
    _run("pretrain", {"backbone.width": width}, workdir)


def child_search(workdir: Path) -> None:
    """In a child: a search; prints the steps and traces of its step functions."""
    from assl_jax.training import loop

    steps: Counter[tuple[str, Any]] = Counter()
    make_step = loop.make_step

    def counted(backbone: Any, objective: Any, *rest: Any, **named: Any) -> Any:
        step = make_step(backbone, objective, *rest, **named)
        steps[objective.name, step] += 1
        return step

    loop.make_step = counted
    _run("mtassl_digits", SEARCH, workdir)
    rows = [
        {"step of": name, "steps": n, "traces": step._cache_size()}
        for (name, step), n in steps.items()
    ]
    print("\n" + json.dumps(rows), flush=True)


def _differences(moments: list[float]) -> list[float]:
    return [after - before for before, after in zip(moments[:-1], moments[1:], strict=True)]


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {f"{name} (s)": value for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tables", default="imports,first,search")
    parser.add_argument("--json", default="startup.json")
    parser.add_argument("--width", type=float, default=0.25, help="of the first step's backbone")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--workdir", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child == "first":
        return child_first(args.workdir, args.width, args.began)
    if args.child == "search":
        return child_search(args.workdir)
    found = {}
    for table_name in args.tables.split(","):
        found[table_name] = {
            "imports": lambda: imports(args.repeats),
            "first": lambda: first_step(args.repeats, args.width),
            "search": traces,
        }[table_name]()
        print(table(found[table_name]) + "\n", flush=True)
    write(args.json, found)


if __name__ == "__main__":
    main()
