"""Where the wall time of a whole Algorithm 1 run goes.

    python -m benchmarks.search [--config=configs/mtassl_digits.py] [--set pretrain.steps=50]
    python -m benchmarks.search --config=configs/mtassl_stl10.py --random=100000x96  # generated

Runs the search twice in fresh folders, each time in a process of its own: first without anything
compiled, then with the programs that the first run kept. Prints tables and writes search.json.

Every instant of a run counts for the innermost of the calls that it lies in:

- trace: Python functions to programs, as JAX's monitoring reports it; nothing of it is kept.
- compile: compiling these, or reading what was kept of an earlier run.
- input: waiting for batches (in `Feed.batches`).
- step: the rest of the time inside `fit`. Steps are dispatched ahead of their computation: this is
  the host's share of a step and its waiting for results, and computation that goes on during
  "input" is hidden there. The last step's results are waited for inside `fit`.
- evaluation: features, running statistics, probabilities and similarities.
- files: writing and reading checkpoints and networks, writing metrics.
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

PARTS = ("trace", "compile", "input", "step", "evaluation", "files", "other")
CALLS = {  # module:attribute -> part
    "assl_jax.strategies.study:fit": "step",
    "assl_jax.evaluation.finetune:fit": "step",
    "assl_jax.training.checkpoint:Checkpoints.__init__": "files",
    "assl_jax.training.checkpoint:Checkpoints.save": "files",
    "assl_jax.training.checkpoint:Checkpoints.restore": "files",
    "assl_jax.training.checkpoint:Checkpoints.close": "files",
    "assl_jax.training.metrics_log:MetricsLog.write": "files",
    "assl_jax.strategies.study:export_backbone": "files",
    "assl_jax.strategies.study:export_model": "files",
    "assl_jax.strategies.study:load_tree": "files",
    "assl_jax.evaluation.plain:PlainImages.fit": "evaluation",
    "assl_jax.evaluation.plain:PlainImages.features": "evaluation",
    "assl_jax.evaluation.finetune:Target.probabilities": "evaluation",
    "assl_jax.strategies.study:lcka_matrix": "evaluation",
    "assl_jax.evaluation.plain:lcka_matrix": "evaluation",
}
ROWS = {"assl_jax.experiment:load": "data", "assl_jax.experiment:_finish": "report"}


class Span(NamedTuple):
    """A call: from when to when, the table's row (None: that of the call around it), the part."""

    start: float
    end: float
    row: str | None
    part: str


def innermost(spans: Iterable[Span]) -> dict[tuple[str, str], float]:
    """Seconds by (row, part): each instant counts for the span that began last around it."""
    totals: dict[tuple[str, str], float] = collections.defaultdict(float)
    around: list[tuple[float, str, str]] = []  # end, row, part
    now, last = 0.0, Span(math.inf, math.inf, "", "")
    for span in (*sorted(spans, key=lambda s: (s.start, -s.end)), last):
        while around and around[-1][0] <= span.start:
            end, row, part = around.pop()
            totals[row, part] += max(0.0, end - now)
            now = max(now, end)
        if around:
            end, row, part = around[-1]
            totals[row, part] += span.start - now
            span = span._replace(row=span.row or row, end=min(span.end, end))
        now = span.start
        around.append((span.end, span.row or "rest", span.part))
    return dict(totals)


class Clock:
    """Spans of the main thread."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.compiled = self.kept = 0

    @contextlib.contextmanager
    def span(self, part: str, row: str | None = None) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spans.append(Span(began, time.perf_counter(), row, part))

    def listen(self) -> None:
        """Note what JAX reports of its compilations."""
        import jax

        def took(event: str, duration_secs: float, **_: Any) -> None:
            if not event.startswith("/jax/core/compile/"):
                return
            backend = event.endswith("backend_compile_duration")
            self.compiled += backend
            if threading.current_thread() is threading.main_thread():
                now = time.perf_counter()
                part = "compile" if backend else "trace"
                self.spans.append(Span(now - duration_secs, now, None, part))

        def happened(event: str, **_: Any) -> None:
            self.kept += event == "/jax/compilation_cache/cache_hits"

        jax.monitoring.register_event_duration_secs_listener(took)
        jax.monitoring.register_event_listener(happened)

    def watch(self) -> None:
        """Replace the library's functions by ones that are timed."""
        from assl_jax.strategies.stages import StageCache
        from assl_jax.training.feed import Feed

        for place, part in CALLS.items():
            _replace(place, functools.partial(self._timed, part=part, row=None))
        for place, row in ROWS.items():
            _replace(place, functools.partial(self._timed, part="other", row=row))
        run, batches = StageCache.run, Feed.batches

        def run_timed(cache: Any, kind: str, *given: Any, **named: Any) -> Any:
            with self.span("other", kind):
                return run(cache, kind, *given, **named)

        def batches_timed(feed: Any, rows: Any) -> Any:
            with contextlib.closing(batches(feed, rows)) as source:
                while True:
                    with self.span("input"):
                        batch = next(source, None)
                    if batch is None:
                        return
                    yield batch

        # Patched here, so that the library needs no hooks.
        for owner, name, timed in (StageCache, "run", run_timed), (Feed, "batches", batches_timed):
            setattr(owner, name, timed)

    def _timed(self, function: Callable, *, part: str, row: str | None) -> Callable:
        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            with self.span(part, row):
                return function(*given, **named)

        return timed


def _replace(place: str, wrap: Callable[[Callable], Callable]) -> None:
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *groups, name = path.split(".")
    for group in groups:
        owner = getattr(owner, group)
    setattr(owner, name, wrap(getattr(owner, name)))


def random_images(*, images: int = 100_000, side: int = 96, seed: int = 0) -> Any:
    """A data set of noise, in the proportions of STL-10: 10 classes, 1 % labelled, 8 % to test."""
    import numpy as np

    from assl_jax.data.dataset import Dataset, intensity_of

    labelled, test, classes = max(100, images // 100), max(50, images * 8 // 100), 10
    shape = (images + labelled + test, side, side, 3)
    x = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(len(x), dtype=np.int32) % classes
    parts = np.split(np.arange(len(x)), [images, images + labelled])
    return Dataset(
        name="random",
        images=x,
        labels=labels,
        class_names=tuple(map(str, range(classes))),
        unlabeled=parts[0],
        labelled_sets=(parts[1],),
        test=parts[2],
        intensity=intensity_of(x[:1000], low=0.0, high=255.0),
    )


def configured(path: str, settings: list[str], random: str) -> Any:
    """The config with its overrides and, if asked for, generated images."""
    from ml_collections import ConfigDict

    from assl_jax.data import SOURCES

    config = runpy.run_path(path)["get_config"]()
    if random:
        images, side = map(int, random.split("x"))
        SOURCES["random"] = random_images
        config.data = ConfigDict({"name": "random", "images": images, "side": side})
    for setting in settings:
        place, _, value = setting.partition("=")
        *groups, key = place.split(".")
        group = config
        for name in groups:
            group = lookup(group, name, "--set")
        lookup(group, key, "--set")
        with contextlib.suppress(SyntaxError, ValueError):  # a word
            value = ast.literal_eval(value)
        group[key] = value
    return config


def once(args: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own: one run, taken apart."""
    clock = Clock()
    with clock.span("other", "rest"):
        clock.listen()
        from assl_jax.experiment import run
        from assl_jax.training.metrics_log import MetricsLog

        clock.watch()
        config = configured(args.config, args.set, args.random)
        folder = Path(args.folder)
        stages = folder / f"stages_{args.worker}"
        # The library's own progress goes where it disturbs nobody.
        with contextlib.redirect_stdout(sys.stderr):
            run(config, folder / args.worker, stages)
    speeds = collections.defaultdict(list)
    for stage in sorted(stages.glob("pretrain-*")):
        for record in MetricsLog(stage).read():
            if "images_per_s" in record:
                speeds[record["label"]].append(record["images_per_s"])
    found = innermost(clock.spans)
    rows = list(dict.fromkeys(row for row, _ in found))
    return {
        "seconds": {row: {part: found.get((row, part), 0.0) for part in PARTS} for row in rows},
        "compiled": clock.compiled - clock.kept,
        "kept": clock.kept,
        "images_per_s": {label: statistics.median(s) for label, s in speeds.items()},
    }


def measure(name: str, given: list[str], folder: str) -> dict[str, Any]:
    """A run, with the start of its process."""
    command = [sys.executable, "-m", "benchmarks.search", *given]
    command += [f"--folder={folder}", f"--worker={name}"]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"the {name} run ended with exit status {done.returncode}")
    found = json.loads(done.stdout)
    inside = sum(sum(row.values()) for row in found["seconds"].values())
    found["seconds"]["process"] = {"other": wall - inside}
    return {**found, "wall": wall}


def shown(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table: seconds, and each part's share of the run."""
    rows = [
        {"run": name, "stage": row, **{part: seconds.get(part, 0.0) for part in PARTS}}
        for row, seconds in found["seconds"].items()
    ]
    total = {part: sum(row[part] for row in rows) for part in PARTS}
    rows.append({"run": name, "stage": "**all**", **total})
    for row in rows:
        row["all (s)"] = sum(row[part] for part in PARTS)
    share = {part: f"{100 * total[part] / found['wall']:.0f} %" for part in PARTS}
    return [*rows, {"run": name, "stage": "share", **share, "all (s)": "100 %"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/mtassl_digits.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--random", default="", metavar="IMAGESxSIDE", help="generated images")
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
    given = [f"--config={args.config}", f"--random={args.random}"]
    given += [f"--set={setting}" for setting in args.set]
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(name, given, folder) for name in ("first", "second")}
    rows = [row for name, run in found.items() for row in shown(name, run)]
    print(table(rows))
    speeds = {name: run["images_per_s"] for name, run in found.items()}
    labels = dict.fromkeys(label for each in speeds.values() for label in each)
    columns = {name: f"{name} run (images/s)" for name in found}
    pretrained = [
        {"pretraining": label, **{columns[name]: speeds[name].get(label) for name in found}}
        for label in labels
    ]
    print("\n" + table(pretrained) + "\n")
    for name, run in found.items():
        print(
            f"{name} run: {run['wall']:.1f} s, {run['compiled']} programs compiled, "
            f"{run['kept']} read from those kept"
        )
    write(args.json, rows, config=args.config, set=args.set, random=args.random, runs=found)


if __name__ == "__main__":
    main()
