"""Where does an aggregate of proxy tasks beat the best of them at equal compute?

    python -m benchmarks.grid --natural32=FOLDER --out=grid

A cell is a data set with few unlabeled images, and a seed, which draws them, the labelled sets and
the test images and starts every training. `plan` says which networks a cell trains; each training
costs one unit of compute. A network is judged by its fine-tuned test accuracy: the mean over
several labelled sets, with 100 and with 500 labels. The mean of both numbers of labels says which
task is the best and when more of it no longer helps.

An aggregate is compared with a network of the same marginal compute, which goes on from the same
network, and with one of the same compute in all, which is the best task with all that the aggregate
and its parts have cost. The interval of a difference is Student's t over seeds.

OUT holds the stages and a JSON file for each cell, written after each network. The same command
goes on where an earlier one ended. `--cells` and `--seeds` spread the work over machines that share
OUT; `--seeds=` prints the tables alone.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from assl_jax.config_reading import typed
from assl_jax.data import Dataset
from assl_jax.data.dataset import intensity_of
from assl_jax.data.splits import stratified_subset
from assl_jax.environment import environment, keep_compiled
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.uncertainty import student as student_t
from assl_jax.files import digest, write_json
from assl_jax.records import SCRATCH, Network
from assl_jax.seeds import derived
from assl_jax.store import LocalStore
from assl_jax.strategies import pretraining
from assl_jax.strategies.computing import stages_of
from assl_jax.strategies.finetuning import finetune, predictions, student_flops
from assl_jax.strategies.scheduler import Scheduler
from assl_jax.strategies.study import Study
from assl_jax.studies import studies_of
from benchmarks.search import configured
from benchmarks.side_by_side import table

CONFIGS = Path(__file__).parents[1] / "configs"
CELLS = {  # data and unlabeled images; the unit of compute, in steps on whole images
    "natural32:300": 4000,
    "natural32:1000": 4000,
    "natural32:5000": 8000,
    "phantoms:200": 3000,
    "phantoms:1000": 3000,
}
NOTE = (
    "The best task, and when it has saturated, are chosen by the test accuracy, averaged over all "
    "numbers of labels. TFLOP: pretraining of the network and of all its parts, and the student's "
    "own training. Intervals: 95 %, over seeds."
)
SATURATED = 0.5  # points; the best task has saturated if twice the compute gains less
MOST = 8  # units at which the doubling ends
FILES = {"natural32": "pretrain.py:folder", "phantoms": "mtassl_phantom3d.py"}
SETTINGS = {
    "natural32": (
        "tasks=simclr,rotation,inpaint",
        "backbone.name=resnet10",
        "backbone.width=0.25",
        "backbone.stem=half",
        "pretrain.batch_size=64",
        "target.steps=200",
        "target.batch_size=64",
        "target.learning_rate=1e-3",
        "target.shift=4",
        "target.flip=True",
    ),
    # 100 steps are three epochs of 500 labels, too few to gain from them.
    "phantoms": ("tasks=rotation,sc_assl,models_genesis", "target.steps=300"),
}
SHARED = (
    "experiment=pretrain",
    "pretrain.mixing=distil",
    "pretrain.budget=compute",
    "target.seeds=1",
    "student.share=0.1",
    "task.rotation.all_rotations=False",
    "checkpoint_every=1000",
)


class Size(NamedTuple):
    """What is drawn for a cell.

    Attributes:
      sets: how many labelled sets of each number of labels; no image is in two of them.
      tested: test images.
      settings: of the config, after all others.
    """

    sets: Mapping[int, int]
    tested: int
    settings: tuple[str, ...] = ()

    @property
    def labelled(self) -> int:
        """Images of all labelled sets."""
        return sum(labels * sets for labels, sets in self.sets.items())


SIZES = {"natural32": Size({100: 5, 500: 3}, 5000), "phantoms": Size({100: 5, 500: 3}, 1000)}
QUICK = ("backbone.width=0.0625", "pretrain.steps=2", "target.steps=2", "student.share=1")
SMOKE = Size({12: 2, 20: 1}, 20, QUICK)


class Row(NamedTuple):
    """A network of a cell.

    Attributes:
      name: in tables.
      network: what is trained.
      marginal: name of the network of the same marginal compute, "" for none.
      all_in: name of the network of the same compute in all, "" for none.
      units: compute of each of its trainings.
    """

    name: str
    network: Network
    marginal: str = ""
    all_in: str = ""
    units: int = 1


def plan(study: Study) -> Generator[Row, float, None]:
    """The networks of a cell, in the order of the work; each is answered by its accuracy.

    "single 3" is the best task after three units, of which each goes on from the last. "pool 2" is
    distilled from the best task and the second, "pool 3" from all three. "beside" networks are
    fine-tuned side by side: the best two or three tasks, or two trainings of the best one.
    """
    yield Row("scratch", SCRATCH)
    scores: dict[str, float] = {}
    for name in study.tasks:
        scores[name] = yield Row(name, study.single(name))
    best, *others = sorted(scores, key=lambda name: -scores[name])
    chain = [study.single(best)]

    def single(units: int) -> Row:
        while len(chain) < units:
            chain.append(study.continued(chain[-1]))
        return Row(f"single {units}", chain[units - 1])

    units, score = 1, (yield single(1))
    while units < MOST:
        before, score = score, (yield single(2 * units))
        if 100 * (score - before) < SATURATED:
            break
        units *= 2
    for which, start in {"pool": 1, "saturated pool": units}.items():
        for size in (2, 3):
            pool = study.pool([best, *others[: size - 1]]).replace(start=chain[start - 1])
            marginal, all_in = single(start + 1), single(start + size)
            yield marginal
            yield all_in
            yield Row(f"{which} {size}", pool, marginal.name, all_in.name)
    yield Row("saturated", chain[units - 1])
    yield Row("anew 4", study.single(best), all_in="single 4", units=4)
    singles = [study.single(name) for name in (best, *others)]
    again = chain[0].repeated(1)
    for name, parts in {"2": singles[:2], "3": singles, "seeds": [chain[0], again]}.items():
        network = Network(objective="side_by_side", teachers=tuple(parts))
        yield Row(f"beside {name}", network, "single 1", f"single {len(parts)}")
    for n in (1, 2, 3):
        yield Row(f"student single {n}", study.taught_by([chain[n - 1]]), f"single {n}")
    for n in (2, 3):
        student = study.taught_by(singles[:n])
        yield Row(f"student {n}", student, "student single 1", f"student single {n}")


class OutOfTime(Exception):
    """The time is over; what is finished is written."""


class Cell(NamedTuple):
    """A data set with few unlabeled images, and a seed.

    Attributes:
      name: one of `CELLS`.
      seed: of the data and of every training.
      size: what is drawn.
    """

    name: str
    seed: int
    size: Size

    @property
    def data(self) -> str:
        return self.name.partition(":")[0]

    @property
    def unlabeled(self) -> int:
        """Number of unlabeled images."""
        return int(self.name.partition(":")[2])

    @property
    def settings(self) -> list[str]:
        """All settings but those of the data."""
        own = (f"seed={self.seed}", f"pretrain.steps={CELLS[self.name]}")
        return [*SETTINGS[self.data], *SHARED, *own, *self.size.settings]

    @property
    def digest(self) -> str:
        """Of everything that decides the results."""
        return digest([self.name, self.settings, sorted(self.size.sets.items()), self.size.tested])

    def study(self, natural32: str, out: Path) -> Study:
        """The study of its images; `natural32` is the folder of the photographs."""
        if self.data == "natural32":
            own = [f"data.path={natural32}", f"data.cache={out / 'decoded'}"]
        else:
            volumes = self.unlabeled + self.size.labelled + self.size.tested
            own = [f"data.volumes={volumes}", f"data.labels={self.size.labelled}"]
            own += [f"data.test={self.size.tested}", f"data.seed={self.seed}"]
        config = configured(f"{CONFIGS}/{FILES[self.data]}", [*self.settings, *own], "")
        tree = typed(config).in_force
        (study,) = studies_of(tree, self.drawn(tree.data.load()))
        return study

    def drawn(self, dataset: Dataset) -> Dataset:
        """The images of the cell, drawn with its seed."""
        (pool,), labels = dataset.labelled_sets, dataset.labels
        rest = np.setdiff1d(dataset.unlabeled, pool)
        rng = np.random.default_rng(derived(self.seed, "unlabeled images"))
        parts = [np.sort(rng.permutation(rest)[: self.unlabeled])]
        for number, count in self.size.sets.items():
            for i in range(count):
                seed = derived(self.seed, "labelled images", number, i)
                parts.append(pool[stratified_subset(labels[pool], number, seed=seed)])
                pool = np.setdiff1d(pool, parts[-1])
        test, seed = dataset.test, derived(self.seed, "test images")
        parts.append(test[stratified_subset(labels[test], self.size.tested, seed=seed)])
        rows, ends = np.concatenate(parts), np.cumsum([len(part) for part in parts])
        unlabeled, *sets, tested = np.split(np.arange(len(rows)), ends[:-1])
        images, known = dataset.images[rows], dataset.intensity
        return Dataset(
            name=dataset.name,
            images=images,
            labels=labels[rows],
            class_names=dataset.class_names,
            unlabeled=unlabeled,
            labelled_sets=tuple(sets),
            test=tested,
            intensity=intensity_of(images[unlabeled], low=known.low, high=known.high),
        )


def judged(study: Study, row: Row, sizes: Mapping[int, int], store: LocalStore) -> dict[str, Any]:
    """Train and fine-tune a network, unless that is done; its accuracies and its compute."""
    settings = study.pretrain
    training = dataclasses.replace(settings.training, steps=row.units * settings.training.steps)
    own = dataclasses.replace(study, pretrain=dataclasses.replace(settings, training=training))
    stages, began = stages_of([own], store), time.monotonic()
    spec = finetune(own, row.network, own.target.rates[0])
    Scheduler(stages).run([spec])
    dataset = own.dataset
    truth = dataset.labels[dataset.test]
    hits = [float((p.argmax(1) == truth).mean()) for p in predictions(stages.get(spec))]
    each = np.split(np.array(hits), np.cumsum(list(sizes.values()))[:-1])
    last = student_flops(own) if row.network.objective == "student" else 0.0
    return {
        "label": row.network.label,
        "network": msgspec.to_builtins(row.network),
        "marginal": row.marginal,
        "all_in": row.all_in,
        "accuracy": {str(n): part.tolist() for n, part in zip(sizes, each, strict=True)},
        "flops": pretraining.cost_of(own, row.network) + last,
        "seconds": round(time.monotonic() - began, 1),
    }


def measure(cell: Cell, natural32: str, out: Path, deadline: float) -> None:
    """Train and judge every network of a cell that is not known yet.

    Raises:
      OutOfTime: the deadline has passed, in seconds of `time.monotonic`.
    """
    file = out / f"{cell.name.replace(':', '-')}-seed{cell.seed}.json"
    known: dict[str, Any] = {"cell": cell.name, "seed": cell.seed, "settings": cell.settings}
    known |= {"digest": cell.digest, "environment": environment()}
    known |= {"finished": False, "networks": {}}
    if file.exists():
        known = json.loads(file.read_text())
        require(known["digest"] == cell.digest, f"{file} has other settings; use another --out")
    if known["finished"]:
        return
    study, store = cell.study(natural32, out), LocalStore(out / "stages")
    networks, rows = known["networks"], plan(study)
    score: Any = None
    while True:
        try:
            row = rows.send(score)
        except StopIteration:
            write_json(file, known | {"finished": True})
            return
        if row.name not in networks:
            if time.monotonic() > deadline:
                raise OutOfTime
            networks[row.name] = judged(study, row, cell.size.sets, store)
            write_json(file, known)
        found = networks[row.name]["accuracy"]
        score = float(np.mean([np.mean(values) for values in found.values()]))
        print(f"{cell.name} seed {cell.seed}: {row.name}: {100 * score:.2f}", flush=True)


def summary(cells: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A title and the rows of a table for each data set, number of images and of labels.

    Args:
      cells: the content of their files.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        by_name.setdefault(cell["cell"], []).append(cell["networks"])
    for name, seeds in by_name.items():
        for labels in next(iter(seeds[0].values()))["accuracy"]:
            names = dict.fromkeys(network for seed in seeds for network in seed)
            yield f"{name}, {labels} labels", [_row(each, labels, seeds) for each in names]


def _row(name: str, labels: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """What is known of one network: in points, and in TFLOP of pretraining and student."""
    known = [seed for seed in seeds if name in seed]

    def accuracy(seed: Mapping[str, Any], network: str) -> float:
        return 100 * float(np.mean(seed[network]["accuracy"][labels]))

    def difference(kind: str) -> str | None:
        pairs = [(seed, seed[name][kind]) for seed in known]
        gained = [accuracy(s, name) - accuracy(s, other) for s, other in pairs if other in s]
        return with_interval(gained) if gained else None

    each = [accuracy(seed, name) for seed in known]
    spread = f" ± {np.std(each, ddof=1):.1f}" if len(each) > 1 else ""
    return {
        "network": name,
        "seeds": len(known),
        "TFLOP": float(np.mean([seed[name]["flops"] for seed in known])) / 1e12,
        "accuracy (%)": f"{np.mean(each):.1f}{spread}",
        "over equal marginal compute": difference("marginal"),
        "over equal compute in all": difference("all_in"),
    }


def with_interval(gained: list[float]) -> str:
    """The mean of some differences and, from two on, the 95 % interval of Student's t."""
    mean = float(np.mean(gained))
    if len(gained) < 2:
        return f"{mean:+.2f}"
    reach = student_t(len(gained)) * float(np.std(gained, ddof=1)) / len(gained) ** 0.5
    return f"{mean:+.2f} [{mean - reach:+.2f}, {mean + reach:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--seeds", default="0,1,2,3,4", help="empty for the tables alone")
    parser.add_argument("--natural32", default="natural32", help="the folder of the photographs")
    parser.add_argument("--out", default="grid")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no network after them")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to try it")
    args = parser.parse_args()
    deadline, out = time.monotonic() + args.seconds, Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    keep_compiled(out / "compiled")
    try:
        for seed in map(int, filter(None, args.seeds.split(","))):  # all cells of a seed first
            for name in args.cells.split(","):
                lookup(CELLS, name, "--cells")
                size = SMOKE if args.smoke else SIZES[name.partition(":")[0]]
                measure(Cell(name, seed, size), args.natural32, out, deadline)
    except OutOfTime:
        print("the time is over; the same command goes on")
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
    cells = [json.loads(file.read_text()) for file in sorted(out.glob("*-seed*.json"))]
    for title, rows in summary(cells):
        print(f"\n{title}:\n\n{table(rows)}")
    print(f"\n{NOTE}")


if __name__ == "__main__":
    main()
