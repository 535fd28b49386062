"""Does an aggregate of proxy tasks beat the best of them at equal compute?

    python -m benchmarks.gain --set=pretrain.steps=3000 --pools=simclr+rotation+src --out=gain

The first task of each pool should be the best one. For every seed and pool it pretrains

- each task alone, and `alternate` and `joint` pools with the operations of the first task alone;
- `distil`, which goes on from the first task's network;
- `longer`: the first task alone with all the operations of `distil` and of the networks that it
  builds on.

Each network is judged by a linear probe, by fine-tuning, and by fine-tuning whose head starts as
the linear probe (LP-FT). An aggregate is compared with the network of the same operations: with
the first task alone, or with `longer`. The interval of a difference is a bootstrap over seeds and
test images. Results are written to OUT after each network; networks that are there already are
not trained again, so `--seeds` can be spread over machines.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.search import configured
from benchmarks.side_by_side import table

JUDGES = {"probe": "linear probe", "finetuned": "fine-tuned", "lp_ft": "LP-FT"}
SCRATCH = "scratch"


class Plan(NamedTuple):
    """A network to pretrain.

    Attributes:
      label: in files and tables.
      pool: its tasks.
      changes: to `PretrainSettings`.
      against: the label of the network of the same operations that it is compared with.
      as_long_as: a pool; the network is trained alone with all the compute of the pool.
    """

    label: str
    pool: tuple[str, ...]
    changes: dict[str, Any] = {}
    against: str = ""
    as_long_as: tuple[str, ...] = ()


def plans(pools: Sequence[tuple[str, ...]]) -> list[Plan]:
    """What is pretrained, in the order of the work."""
    found = [Plan(SCRATCH, ())]
    for pool in pools:
        known = {plan.label for plan in found}
        found += [Plan(name, (name,)) for name in pool if name not in known]
        if len(pool) == 1:
            continue
        first, name = pool[0], "+".join(pool)
        longer = f"longer {name}"
        distil, compute = {"mixing": "distil"}, {"budget": "compute"}
        found += [
            Plan(f"distil {name}", pool, distil, longer),
            Plan(longer, (first,), distil, as_long_as=pool),
            Plan(f"alternate {name}", pool, {"mixing": "alternate", **compute}, first),
            Plan(f"joint {name}", pool, {"mixing": "joint", **compute}, first),
        ]
    return found


def measure(config: Any, planned: Sequence[Plan], out: Path, deadline: float) -> None:
    """Train and judge every network of `planned` for one seed; stop at `deadline`."""

    from assl_jax import records
    from assl_jax.config_reading import typed
    from assl_jax.evaluation.features import features
    from assl_jax.evaluation.probes import linear_probe
    from assl_jax.evaluation.spectrum import effective_rank
    from assl_jax.files import digest
    from assl_jax.store import LocalStore
    from assl_jax.strategies import pretraining
    from assl_jax.strategies.computing import stages_of
    from assl_jax.strategies.evidence import Evidence
    from assl_jax.strategies.scheduler import Scheduler
    from assl_jax.studies import studies_of

    config.tasks = ",".join(dict.fromkeys(name for plan in planned for name in plan.pool))
    tree = dataclasses.replace(typed(config), experiment="pretrain").in_force  # selects nothing
    dataset = tree.data.load()
    (study,) = studies_of(tree, dataset)
    (rows,) = dataset.labelled_sets
    truth = dataset.labels[dataset.test]
    settings = digest({**config.to_dict(), "tasks": ""})
    for plan in planned:
        if time.time() > deadline:
            return
        changed = dataclasses.replace(study.pretrain, **plan.changes)
        own = dataclasses.replace(study, pretrain=changed, metric="accuracy")
        stages = stages_of([own], LocalStore(out / "stages"))
        network = own.pool(plan.pool) if plan.pool else records.SCRATCH
        if plan.as_long_as:
            pool = own.pool(plan.as_long_as)
            network = pretraining.longer(own, pool, plan.as_long_as[0])
        began = time.time()
        if plan.pool:
            spec = pretraining.spec(own, network)
            Scheduler(stages).run([spec])
            variables = pretraining.load(own, stages.get(spec))
        else:
            variables = pretraining.untrained(own)
        seconds = time.time() - began
        file = out / f"{plan.label.replace(' ', '_')}.seed{config.seed}.npz"
        if file.exists():
            if _facts(file)["settings"] != settings:
                raise SystemExit(f"{file} is of other settings; use another --out")
            continue

        x = features(
            own.backbone,
            variables,
            own.images,
            np.concatenate([rows, dataset.test]),
            intensity=dataset.intensity,
        )
        found = {
            "probe": [
                linear_probe(
                    x[: len(rows)],
                    dataset.labels[rows],
                    x[len(rows) :],
                    classes=dataset.num_classes,
                    groups=dataset.groups[rows],
                )
            ]
        }
        for judge, head in (("finetuned", "random"), ("lp_ft", "probe")):
            judged = dataclasses.replace(own, target=dataclasses.replace(own.target, head=head))
            judging = stages_of([judged], LocalStore(out / "stages"))
            evidence = Evidence(judged, judging)
            for specs in evidence.evaluated([network]):
                Scheduler(judging).run(specs)
            found[judge] = evidence.probabilities(network)
        hits = {
            judge: np.mean([p.argmax(1) == truth for p in each], 0, dtype=np.float32)
            for judge, each in found.items()
        }
        facts = {
            "flops": pretraining.cost_of(own, network),
            "steps": pretraining.training_of(own, network).steps if plan.pool else 0,
            "seconds": seconds,
            "effective_rank": effective_rank(x[len(rows) :]),
            "settings": settings,
        }
        arrays: dict[str, Any] = {**hits, "facts": json.dumps(facts)}
        np.savez_compressed(file, **arrays)
        shown = ", ".join(f"{JUDGES[j]} {100 * h.mean():.2f}" for j, h in hits.items())
        print(f"seed {config.seed}: {plan.label}: {shown}", flush=True)


def read(out: Path, planned: Sequence[Plan]) -> dict[str, dict[int, dict[str, Any]]]:
    """Hits and facts by label and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for plan in planned:
        stem = plan.label.replace(" ", "_")
        for file in sorted(out.glob(f"{stem}.seed*.npz")):
            with np.load(file) as arrays:
                entry: dict[str, Any] = {judge: arrays[judge] for judge in JUDGES}
            entry |= _facts(file)
            seed = int(file.stem.split(".seed")[1])
            found.setdefault(plan.label, {})[seed] = entry
    return found


def _facts(file: Path) -> dict[str, Any]:
    with np.load(file) as arrays:
        return json.loads(str(arrays["facts"]))


def summary(planned: Sequence[Plan], found: dict[str, dict[int, dict]]) -> Iterator[dict[str, Any]]:
    """A row for each network: accuracies, differences and their intervals, in points."""
    for plan in planned:
        own = found.get(plan.label, {})
        if not own:
            continue
        row: dict[str, Any] = {"network": plan.label, "seeds": len(own)}
        row["TFLOP"] = np.mean([entry["flops"] for entry in own.values()]) / 1e12
        row["effective rank"] = np.mean([entry["effective_rank"] for entry in own.values()])
        for judge, title in JUDGES.items():
            each = [100 * entry[judge].mean() for entry in own.values()]
            row[f"{title} (%)"] = f"{np.mean(each):.2f} ± {np.std(each, ddof=len(each) > 1):.2f}"
        other = found.get(plan.against, {})
        both = sorted(own.keys() & other.keys())
        for judge, title in JUDGES.items() if both else ():
            gained = np.stack([own[s][judge] - other[s][judge] for s in both])
            low, high = interval(gained)
            row[f"gain, {title}"] = f"{100 * gained.mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        yield row


def interval(gained: np.ndarray, *, replicates: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean of `[seeds, images]` in points; both are drawn again."""
    rng = np.random.default_rng(0)
    seeds, images = gained.shape
    means = []
    for _ in range(replicates):
        weights = rng.multinomial(images, np.full(images, 1 / images))
        drawn = gained[rng.integers(seeds, size=seeds)]
        means.append((drawn @ weights).mean() / images)
    low, high = np.percentile(means, [2.5, 97.5])
    return 100 * float(low), 100 * float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/pretrain.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--pools", default="simclr+rotation+src", help="separated by commas")
    parser.add_argument("--seeds", default="0,1,2", help="empty for the table alone")
    parser.add_argument("--out", default="gain")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no network after them")
    args = parser.parse_args()
    deadline = time.time() + args.seconds
    planned = plans([tuple(pool.split("+")) for pool in args.pools.split(",")])
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for seed in filter(None, args.seeds.split(",")):
        config = configured(args.config, args.set, "")
        config.seed = int(seed)
        measure(config, planned, out, deadline)
    rows = list(summary(planned, read(out, planned)))
    heads = list(dict.fromkeys(head for row in rows for head in row))
    print(table([{head: row.get(head) for head in heads} for row in rows]))


if __name__ == "__main__":
    main()
