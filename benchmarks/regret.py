"""Does the search keep the best network that it has trained, and is its probability true?

    python -m benchmarks.regret [--config=configs/mtassl_digits.py] [--seeds=0-13] [--out=regret]

For every seed, of data and pretraining, the search is carried out by each of `RULES`. All rules
share the finished stages, so each network is trained once, and a rule is replayed on its scores.
What is finished for a seed is not repeated. Prints three tables:

- regret: the test accuracy of the best network minus that of the one that a rule keeps, in points;
  of the networks that this rule has trained, and of those that any rule has. The floor is the
  regret of keeping the network that is truly the best: test images and fine-tunings rank networks
  by luck too. Settle a rule on the even seeds, judge it on the odd ones.
- calibration: of the networks said to be the best with a probability, how many are.
- students: the accuracy of each minus the mean of the networks that teach it, and their ensemble.
"""

import argparse
import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assl_jax.errors import lookup
from assl_jax.strategies.selection import posterior
from benchmarks.search import configured
from benchmarks.side_by_side import table

RULES: dict[str, dict[str, Any]] = {  # what each changes of the config
    "rounds": {},
    "no student": {"student.share": 0},
    "more rounds": {"search.gain": 0, "search.budget": "20 singles"},
    "every task in a round": {"search.candidates": "all"},
    "as printed": {"search.as_printed": True},
}
FIRST = "lowest score of one cross-validation"  # of the networks of "rounds"
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0001)
DRAWS = 2000


class Seed(NamedTuple):
    """What the rules found on one seed.

    Attributes:
      hits: `[r, n]` by network: which fine-tuning classifies which test image rightly.
      rules: by rule, `kept`, `standings` (label, score, probability), `spent` in TFLOP.
      students: by student, its `teachers`; their ensemble's hits are those of `ensemble LABEL`.
    """

    hits: dict[str, np.ndarray]
    rules: dict[str, dict[str, Any]]
    students: dict[str, list[str]]

    def accuracy(self, label: str) -> float:
        return 100 * float(self.hits[label].mean())


def carry_out(config: Any, rule: Mapping[str, Any], store: Any) -> tuple[Any, Any]:
    """The findings of a search by one rule, and its evidence."""
    from assl_jax.config_reading import typed
    from assl_jax.experiment import Run
    from assl_jax.strategies.scheduler import Scheduler

    with config.unlocked():
        for name, value in rule.items():
            group, _, key = name.partition(".")
            config[group][key] = value
    tree = typed(config)
    whole = Run(tree, tree.data.load(), store, reuse_settings=True)
    return Scheduler(whole.stages).carry_out(whole.plan), whole.evidences[0]


def measure(
    config: str, settings: Sequence[str], seed: int, rules: Sequence[str], out: Path
) -> None:
    """Carry out rules on one seed, and write what each found; finished ones are not repeated."""
    from assl_jax.environment import environment, keep_compiled
    from assl_jax.store import LocalStore

    keep_compiled(out / "compiled")
    own = [*settings, f"seed={seed}", f"data.seed={seed}"]
    store, known = LocalStore(out / "stages"), read(out).get(seed, Seed({}, {}, {}))
    for name in rules:
        if name in known.rules:
            continue
        began = time.monotonic()
        found, evidence = carry_out(configured(config, own, ""), RULES[name], store)
        for network in evidence.networks:
            known.hits[network.label] = _right(evidence, [network])
            if network.objective == "student":
                known.hits[f"ensemble {network.label}"] = _right(evidence, network.teachers)
                known.students[network.label] = [each.label for each in network.teachers]
        known.rules[name] = {"kept": found.best.network.label, **_told(found, evidence)}
        facts = {"rules": known.rules, "students": known.students}
        facts["environment"] = {k: environment()[k] for k in ("jax", "instruction_set")}
        arrays: dict[str, Any] = {**known.hits, "facts": json.dumps(facts)}
        np.savez_compressed(out / f"seed{seed}.npz", **arrays)
        took = time.monotonic() - began
        print(f"seed {seed}: {name}: {found.best.network.label}, {took:.0f} s", flush=True)


def _right(evidence: Any, networks: Sequence[Any]) -> np.ndarray:
    """How often each test image is classified rightly by a network, or by several as one."""
    truth = evidence.study.dataset.labels[evidence.study.dataset.test]
    runs = [p for network in networks for p in evidence.probabilities(network)]
    together = [np.mean(runs, 0)] if len(networks) > 1 else runs
    return np.stack([p.argmax(1) == truth for p in together])


def _told(found: Any, evidence: Any) -> dict[str, Any]:
    """The standings and the compute of a search."""
    from assl_jax.evaluation.scores import METRICS
    from assl_jax.strategies.pricing import cost

    sign = 1 if METRICS[evidence.study.metric].higher_is_better else -1
    with contextlib.suppress(AttributeError):
        return {
            "spent": found.search.spent / 1e12,
            "standings": [
                (s.network.label, sign * s.evaluation.selection.mean, s.probability)
                for s in found.search.standings
            ],
        }
    known = list(evidence.networks)
    return {
        "spent": cost(evidence, known) / 1e12,
        "standings": [(n.label, sign * evidence.evaluate(n).selection.mean, None) for n in known],
    }


def read(out: Path) -> dict[int, Seed]:
    """What is finished, by seed."""
    found = {}
    for file in out.glob("seed*.npz"):
        with np.load(file) as arrays:
            facts = json.loads(str(arrays["facts"]))
            hits = {name: arrays[name] for name in arrays.files if name != "facts"}
        found[int(file.stem[4:])] = Seed(hits, facts["rules"], facts["students"])
    return dict(sorted(found.items()))


def regrets(found: Mapping[int, Seed]) -> Iterator[dict[str, Any]]:
    """A row for each rule."""
    for name in (*RULES, FIRST):
        rule = "rounds" if name == FIRST else name
        there = {number: seed for number, seed in found.items() if rule in seed.rules}
        if not there:
            continue
        rows = [_regret(seed, name) for seed in there.values()]
        each = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        odd = np.array([number % 2 == 1 for number in there])
        yield {
            "rule": name,
            "seeds": len(rows),
            "accuracy (%)": f"{each['accuracy'].mean():.2f}",
            "regret": _spread(each["own"]),
            "even seeds": _spread(each["own"][~odd]),
            "odd seeds": _spread(each["own"][odd]),
            "floor": f"{each['floor'].mean():.2f}",
            "against the best of all rules": _spread(each["all"]),
            "spent (TFLOP)": f"{each['spent'].mean():.1f}",
        }


def _regret(seed: Seed, name: str) -> dict[str, float]:
    rule = seed.rules["rounds" if name == FIRST else name]
    labels = [label for label, _, _ in rule["standings"]]
    kept = max(rule["standings"], key=lambda each: each[1])[0] if name == FIRST else rule["kept"]
    accuracies = [seed.accuracy(label) for label in labels]
    every = {label for each in seed.rules.values() for label, _, _ in each["standings"]}
    return {
        "accuracy": seed.accuracy(kept),
        "own": max(accuracies) - seed.accuracy(kept),
        "all": max(map(seed.accuracy, every)) - seed.accuracy(kept),
        "floor": floor([seed.hits[label] for label in labels]),
        "spent": rule["spent"],
    }


def floor(hits: Sequence[np.ndarray]) -> float:
    """The expected regret, in points, of a rule that knows which network is truly the best.

    True accuracies are drawn from what `selection.posterior` makes of the measured ones. Measured
    ones lie about them, with errors over test images and over fine-tunings.

    Args:
      hits: `[r, n]` of each network.
    """
    rng, n = np.random.default_rng(0), hits[0].shape[1]
    means = np.array([each.mean(0) for each in hits])
    over_runs = [each.mean(1).var(ddof=1) / len(each) if len(each) > 1 else 0.0 for each in hits]
    covariance = np.cov(means) / n + np.diag(over_runs)
    found = posterior(means.mean(1), covariance)
    true = found.draws[rng.choice(len(found.draws), DRAWS, p=found.weights)]
    measured = true + rng.multivariate_normal(np.zeros(len(hits)), covariance, DRAWS)
    kept = measured[np.arange(DRAWS), true.argmax(1)]
    return 100 * float((measured.max(1) - kept).mean())


def calibration(found: Mapping[int, Seed], rule: str = "rounds") -> Iterator[dict[str, Any]]:
    """A row for each range of stated probabilities; a network that ties for the best counts so."""
    stated, true = [], []
    for seed in found.values():
        standings = seed.rules[rule]["standings"] if rule in seed.rules else []
        if not standings:
            continue
        best = max(seed.accuracy(label) for label, _, _ in standings)
        stated += [probability for _, _, probability in standings]
        true += [seed.accuracy(label) == best for label, _, _ in standings]
    said, is_best = np.array(stated), np.array(true)
    for low, high in zip(BINS, BINS[1:], strict=False):
        inside = (said >= low) & (said < high)
        if inside.any():
            yield {
                "stated": f"{low:.2f} to {min(high, 1):.2f}",
                "networks": int(inside.sum()),
                "mean stated": f"{said[inside].mean():.2f}",
                "are the best": f"{is_best[inside].mean():.2f}",
            }


def students(found: Mapping[int, Seed]) -> Iterator[dict[str, Any]]:
    """A row for the student of each rule that has one, in points over its teachers."""
    for name in RULES:
        gained, ensemble, kept = [], [], []
        for seed in found.values():
            standings = seed.rules[name]["standings"] if name in seed.rules else []
            for label, _, _ in standings:
                if label in seed.students:
                    teachers = np.mean([seed.hits[each] for each in seed.students[label]], (0, 1))
                    gained.append(seed.hits[label].mean(0) - teachers)
                    ensemble.append(seed.hits[f"ensemble {label}"].mean(0) - teachers)
                    kept.append(seed.rules[name]["kept"] == label)
        if gained:
            low, high = interval(np.array(gained))
            yield {
                "rule": name,
                "students": len(gained),
                "student - teachers": f"{100 * np.mean(gained):+.2f} [{low:+.2f}, {high:+.2f}]",
                "ensemble - teachers": f"{100 * np.mean(ensemble):+.2f}",
                "kept": f"{np.mean(kept):.2f}",
            }


def interval(gained: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of `[seeds, images]` in points; both are drawn again."""
    rng = np.random.default_rng(0)
    seeds, images = gained.shape
    weights = rng.multinomial(images, np.full(images, 1 / images), DRAWS)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    means = ((of_seeds @ gained) * weights).sum(1) / images
    low, high = np.percentile(means, [2.5, 97.5])
    return 100 * float(low), 100 * float(high)


def _spread(values: np.ndarray) -> str:
    if not len(values):
        return "–"
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():.2f} ± {error:.2f}"


def numbers(text: str) -> list[int]:
    """`0-3,7` as 0, 1, 2, 3, 7."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/mtassl_digits.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", default="0-13", help="as in 0-3,7; empty for the tables alone")
    parser.add_argument("--rules", default=",".join(RULES), help="separated by commas")
    parser.add_argument("--out", default="regret", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rules = args.rules.split(",")
    for name in rules:
        lookup(RULES, name, "--rules")
    for seed in numbers(args.seeds):
        measure(args.config, args.set, seed, rules, args.out)
    found = read(args.out)
    if found:
        for rows in (regrets(found), calibration(found), students(found)):
            print(f"\n{table(list(rows))}")


if __name__ == "__main__":
    main()
