"""Where the wall time of a whole run of Algorithm 1 goes.

    python -m benchmarks.search [--config=configs/mtassl_digits.py] [--set pretrain.steps=50]
    python -m benchmarks.search --config=configs/pairs.py:digits
    python -m benchmarks.search --config=configs/mtassl_stl10.py --random=100000x96  # generated

Runs the search twice in new folders, each time in its own process: first without compiled programs,
then with those of the first run. Prints tables and writes search.json.

Every instant of a run counts for the innermost of these calls:

- trace: JAX traces Python functions to programs, as its monitoring reports. Traces are not kept.
- compile: XLA compiles programs, or JAX reads the compiled programs of an earlier run.
- input: the loop waits for batches (in `Feed.batches`).
- step: the rest of the time inside `fit`. The host dispatches steps before they are computed, so
  this is the host's share of a step plus the time it waits for results. Computation that runs
  during "input" is not counted here. `fit` waits for the results of the last step.
- evaluation: features, running statistics, probabilities and similarities.
- files: checkpoints, networks and metrics are written or read.
- other: everything else (imports, the stages' own files, Python).

Fine-tuning has its own rows, "finetune" (on all labels) and "select" (cross-validation).
"""

import argparse
import ast
import collections
import contextlib
import functools
import importlib
import json
import math
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from assl_jax.errors import InputError, lookup
from benchmarks.side_by_side import table, write

CATEGORIES = ("trace", "compile", "input", "step", "evaluation", "files", "other")
CALLS = {  # module:attribute -> category
    "assl_jax.strategies.pretraining:fit": "step",
    "assl_jax.evaluation.finetune:fit": "step",
    "assl_jax.training.checkpoint:Checkpoints.__init__": "files",
    "assl_jax.training.checkpoint:Checkpoints.save": "files",
    "assl_jax.training.checkpoint:Checkpoints.restore": "files",
    "assl_jax.training.checkpoint:Checkpoints.close": "files",
    "assl_jax.training.metrics_log:MetricsLog.write": "files",
    "assl_jax.strategies.pretraining:export_backbone": "files",
    "assl_jax.strategies.finetuning:export_model": "files",
    "assl_jax.strategies.pretraining:load_tree": "files",
    "assl_jax.evaluation.plain:PlainImages.fit": "evaluation",
    "assl_jax.evaluation.plain:PlainImages.features": "evaluation",
    "assl_jax.evaluation.finetune:Target.probabilities": "evaluation",
    "assl_jax.strategies.evidence:lcka_matrix": "evaluation",
    "assl_jax.evaluation.plain:lcka_matrix": "evaluation",
}
ROWS = {  # module:attribute -> row of the table
    "assl_jax.config:DataSettings.load": "data",
    "assl_jax.experiment:finish": "report",
}


class Span(NamedTuple):
    """A call, as the clock saw it.

    Attributes:
      start, end: seconds.
      row: row of the table; None for that of the enclosing call.
      category: column of the table.
    """

    start: float
    end: float
    row: str | None
    category: str


def innermost(spans: Iterable[Span]) -> dict[tuple[str, str], float]:
    """Seconds by (row, category): each instant counts for the innermost span around it."""
    totals: dict[tuple[str, str], float] = collections.defaultdict(float)
    enclosing: list[tuple[float, str, str]] = []  # end, row, category
    now, last = 0.0, Span(math.inf, math.inf, "", "")
    for span in (*sorted(spans, key=lambda s: (s.start, -s.end)), last):
        while enclosing and enclosing[-1][0] <= span.start:
            end, row, category = enclosing.pop()
            totals[row, category] += max(0.0, end - now)
            now = max(now, end)
        if enclosing:
            end, row, category = enclosing[-1]
            totals[row, category] += span.start - now
            span = span._replace(row=span.row or row, end=min(span.end, end))
        now = span.start
        enclosing.append((span.end, span.row or "rest", span.category))
    return dict(totals)


class Clock:
    """Spans of the main thread."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.compiled = self.kept = 0

    @contextlib.contextmanager
    def span(self, category: str, row: str | None = None) -> Iterator[None]:
        """Record the time inside of the `with` block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spans.append(Span(began, time.perf_counter(), row, category))

    def listen(self) -> None:
        """Record the compilations that JAX reports."""
        import jax

        def took(event: str, duration_secs: float, **_: Any) -> None:
            if not event.startswith("/jax/core/compile/"):
                return
            backend = event.endswith("backend_compile_duration")
            self.compiled += backend
            if threading.current_thread() is threading.main_thread():
                now = time.perf_counter()
                category = "compile" if backend else "trace"
                self.spans.append(Span(now - duration_secs, now, None, category))

        def happened(event: str, **_: Any) -> None:
            self.kept += event == "/jax/compilation_cache/cache_hits"

        jax.monitoring.register_event_duration_secs_listener(took)
        jax.monitoring.register_event_listener(happened)

    def watch(self) -> None:
        """Replace functions of the library by timed ones, so that the library needs no hooks."""
        from assl_jax.strategies.scheduler import Stages
        from assl_jax.training.feed import Feed

        for name, category in CALLS.items():
            _replace(name, functools.partial(self._timed, category=category, row=None))
        for name, row in ROWS.items():
            _replace(name, functools.partial(self._timed, category="other", row=row))
        make, batches = Stages.make, Feed.batches

        def make_timed(stages: Any, spec: Any) -> bool:
            with self.span("other", spec.kind):
                return make(stages, spec)

        def batches_timed(feed: Any, rows: Any) -> Any:
            with contextlib.closing(batches(feed, rows)) as source:
                while True:
                    with self.span("input"):
                        batch = next(source, None)
                    if batch is None:
                        return
                    yield batch

        patches = (Stages, "make", make_timed), (Feed, "batches", batches_timed)
        for owner, attribute, timed in patches:
            setattr(owner, attribute, timed)

    def _timed(self, function: Callable, *, category: str, row: str | None) -> Callable:
        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            with self.span(category, row):
                return function(*given, **named)

        return timed


def _replace(name: str, wrap: Callable[[Callable], Callable]) -> None:
    """Wrap the function called `module:attribute`, or `module:Class.method`."""
    module, _, path = name.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, attribute = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    setattr(owner, attribute, wrap(getattr(owner, attribute)))


def random_images(*, images: int = 100_000, side: int = 96, seed: int = 0) -> Any:
    """Noise with the proportions of STL-10: 10 classes, 1 % labelled, 8 % for testing."""
    import numpy as np

    from assl_jax.data.dataset import Dataset, intensity_of

    labelled, test, classes = max(100, images // 100), max(50, images * 8 // 100), 10
    shape = (images + labelled + test, side, side, 3)
    x = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(len(x), dtype=np.int32) % classes
    unlabeled, train, test_rows = np.split(np.arange(len(x)), [images, images + labelled])
    return Dataset(
        name="random",
        images=x,
        labels=labels,
        class_names=tuple(map(str, range(classes))),
        unlabeled=unlabeled,
        labelled_sets=(train,),
        test=test_rows,
        intensity=intensity_of(x[:1000], low=0.0, high=255.0),
    )


def configured(name: str, settings: list[str], random: str) -> Any:
    """A config with its overrides.

    Args:
      name: a config file, or a file and its argument, as in "configs/pairs.py:digits".
      settings: overrides "KEY=VALUE".
      random: "IMAGESxSIDE" replaces the data by generated images; "" keeps the data.
    """
    from ml_collections import ConfigDict

    from assl_jax.data import SOURCES

    path, _, argument = name.partition(":")
    config = runpy.run_path(path)["get_config"](*filter(None, [argument]))
    if random:
        images, side = map(int, random.split("x"))
        SOURCES["random"] = random_images
        config.data = ConfigDict({"name": "random", "images": images, "side": side})
    for setting in settings:
        where, _, value = setting.partition("=")
        *groups, key = where.split(".")
        group = config
        for each in groups:
            group = lookup(group, each, "--set")
        lookup(group, key, "--set")
        with contextlib.suppress(SyntaxError, ValueError):  # a plain word is no literal
            value = ast.literal_eval(value)
        group[key] = value
    return config


def once(args: argparse.Namespace) -> dict[str, Any]:
    """In a worker: one run, with its time by row and category."""
    clock = Clock()
    with clock.span("other", "rest"):
        clock.listen()
        from assl_jax.config_reading import typed
        from assl_jax.experiment import run
        from assl_jax.training.metrics_log import MetricsLog

        clock.watch()
        config = configured(args.config, args.set, args.random)
        folder = Path(args.folder)
        stages = folder / f"stages_{args.worker}"
        # Standard output is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            run(typed(config), folder / args.worker, stages)
    speeds = collections.defaultdict(list)
    for stage in sorted(stages.glob("pretrain-*")):
        for record in MetricsLog(stage).read():
            if "images_per_s" in record.values:
                speeds[record.label].append(record.values["images_per_s"])
    found = innermost(clock.spans)
    rows = list(dict.fromkeys(row for row, _ in found))
    return {
        "seconds": {
            row: {each: found.get((row, each), 0.0) for each in CATEGORIES} for row in rows
        },
        "compiled": clock.compiled - clock.kept,
        "kept": clock.kept,
        "images_per_s": {label: statistics.median(s) for label, s in speeds.items()},
    }


def measure(name: str, options: list[str], folder: str) -> dict[str, Any]:
    """One run in its own process; the start of the process counts too."""
    command = [sys.executable, "-m", "benchmarks.search", *options]
    command += [f"--folder={folder}", f"--worker={name}"]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"the {name} run failed with exit status {done.returncode}; see above")
    found = json.loads(done.stdout)
    inside = sum(sum(row.values()) for row in found["seconds"].values())
    found["seconds"]["process"] = {"other": wall - inside}
    return {**found, "wall": wall}


def shown(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table: seconds, and the share of each category in the run."""
    rows = [
        {"run": name, "stage": row, **{each: seconds.get(each, 0.0) for each in CATEGORIES}}
        for row, seconds in found["seconds"].items()
    ]
    total = {each: sum(row[each] for row in rows) for each in CATEGORIES}
    rows.append({"run": name, "stage": "**all**", **total})
    for row in rows:
        row["all (s)"] = sum(row[each] for each in CATEGORIES)
    share = {each: f"{100 * total[each] / found['wall']:.0f} %" for each in CATEGORIES}
    return [*rows, {"run": name, "stage": "share", **share, "all (s)": "100 %"}]


def _speeds(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Images/s of each pretraining in each run."""
    labels = dict.fromkeys(label for run in found.values() for label in run["images_per_s"])
    return [
        {
            "pretraining": label,
            **{f"{n} run (images/s)": run["images_per_s"].get(label) for n, run in found.items()},
        }
        for label in labels
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/mtassl_digits.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--random", default="", metavar="IMAGESxSIDE", help="generate the images")
    parser.add_argument("--json", default="search.json")
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        try:
            print(json.dumps(once(args)))
        except InputError as error:
            raise SystemExit(f"error: {error}") from error
        return
    options = [f"--config={args.config}", f"--random={args.random}"]
    options += [f"--set={setting}" for setting in args.set]
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(name, options, folder) for name in ("first", "second")}
    rows = [row for name, run in found.items() for row in shown(name, run)]
    print(table(rows))
    print("\n" + table(_speeds(found)) + "\n")
    for name, run in found.items():
        print(
            f"{name} run: {run['wall']:.1f} s, {run['compiled']} programs compiled, "
            f"{run['kept']} read from the compilation cache"
        )
    write(args.json, rows, config=args.config, set=args.set, random=args.random, runs=found)


if __name__ == "__main__":
    main()
