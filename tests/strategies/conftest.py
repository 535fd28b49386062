"""A study small enough to run whole, and evidence that answers from tables."""

import dataclasses
import types

import jax
import msgspec
import numpy as np
import pytest
from small_studies import ENTRIES, make_lab

from assl_jax.evaluation.uncertainty import Gain, estimate
from assl_jax.models import BACKBONES
from assl_jax.records import START, Estimate, Evaluation
from assl_jax.strategies import pretraining, rounds
from assl_jax.strategies.evidence import ONE
from assl_jax.strategies.selection import posterior
from assl_jax.strategies.settings import (
    DistilSettings,
    PretrainSettings,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.strategies.study import Study
from assl_jax.training import loop


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """`lab(**changes)`: a study with its stages and evidence, see `small_studies.make_lab`."""
    for name, entry in ENTRIES.items():
        monkeypatch.setitem(BACKBONES, name, entry)

    def make(*, folder="run", **changes):
        return make_lab(tmp_path / folder, **changes)

    return make


@pytest.fixture
def steps_taken(monkeypatch):
    """One entry per training step: the name of what it trains."""
    taken, real = [], loop.make_step

    def counted(backbone, objective, *settings, **more):
        step = real(backbone, objective, *settings, **more)

        def run(*args):
            taken.append(objective.name)
            return step(*args)

        return run

    monkeypatch.setattr(loop, "make_step", counted)
    return taken


@dataclasses.dataclass
class Fit:
    """A pretraining: its state at the start, its objective, its frozen networks and its seed."""

    state: object
    objective: object
    frozen: object
    seed: int


@pytest.fixture
def fits(monkeypatch):
    """Every pretraining, as a `Fit`."""
    seen, real = [], pretraining.fit

    def recorded(state, objective, *given, session, frozen=None, **more):
        copied = jax.tree.map(np.asarray, state)  # the training donates its arrays
        seen.append(Fit(copied, objective, frozen, session.seed))
        return real(state, objective, *given, session=session, frozen=frozen, **more)

    monkeypatch.setattr(pretraining, "fit", recorded)
    return seen


@pytest.fixture
def make_evaluation():
    """`make_evaluation(accuracy, selection=None, **metrics)`: these means, spread by 0.01."""

    def make(accuracy, *, selection=None, **metrics):
        return Evaluation(
            metrics={
                name: Estimate(mean=mean, std=0.01, runs=(mean - 0.01, mean + 0.01))
                for name, mean in {"accuracy": accuracy, **metrics}.items()
            },
            confusion=((1.0,),),
            selection=None if selection is None else Estimate(mean=selection, std=0.0),
        )

    return make


def key_of(network):
    """Its members in alphabetical order, what follows in its label, or "scratch" and "start"."""
    words = network.label.partition(".")
    return "+".join(sorted(words[0].split("+"))) + words[1] + words[2]


class FakeEvidence:
    """Answers from tables, and remembers what had to be trained. A plan yields nothing from it.

    Keys are labels, with spaces for "+": "a b" is a pool in any order, "a.continued" goes on.
    `accuracies` are by network, `similarities` by two of them as in "a b|c". The selection of a
    network is its accuracy unless `selections` has another value; on one division into folds,
    `divisions` may. The AUC is the opposite of the accuracy, so that it prefers the other task.
    """

    def __init__(self, make_evaluation, accuracies, similarities, selections, teachers, start):
        self.make_evaluation = make_evaluation
        self.accuracies = {"scratch": 0.1} | _keyed(accuracies)
        self.selections, self.divisions = _keyed(selections), {}
        self.pairs = {
            frozenset(_key(k) for k in key.split("|")): s for key, s in similarities.items()
        }
        self.complements, self.error, self.on_folds = {}, 1e-6, True
        self.division = 0.25  # TFLOP
        self.trained, self.prepared, self.compared_gains, self.looked = [], [], [], []
        self.makes_pools = "distil" if teachers or any("." in key for key in accuracies) else ""
        singles = [key for key in accuracies if " " not in key and "." not in key]
        names = [key for key in singles if key not in ("scratch", "start", *teachers)]
        self.study = Study(
            dataset=types.SimpleNamespace(unlabeled=range(10_000), labelled_sets=((0,),)),
            images=None,
            backbone=None,
            backbone_settings={"name": "fake"},
            tasks=dict.fromkeys(names),
            pretrain=PretrainSettings(mixing=self.makes_pools or "alternate"),
            distil=DistilSettings(),
            penalty=None,
            target=TargetSettings(),
            similarity=SimilaritySettings(),
            seed=0,
            given=dict.fromkeys((*teachers, *([START] if start else []))),
        )

    def evaluated(self, networks, divisions=(), *, tested=True):
        self.prepared += [(key_of(n), division) for n in networks for division in divisions]
        if not tested:
            self.looked.append([key_of(network) for network in networks])
        self.trained += [k for k in map(key_of, networks) if tested and k not in self.trained]
        yield from ()

    def compared(self, networks):
        yield from ()

    def complemented(self, pool, others):
        yield from ()

    def evaluate(self, network):
        key = key_of(network)
        assert key in self.trained, f"{key} was not asked for"
        accuracy = self.accuracies[key]
        selection = self.selections.get(key, accuracy)
        return self.make_evaluation(accuracy, selection=selection, auc=1 - accuracy)

    def start(self):
        return self.evaluate(self.study.initial) if self.study.initial else msgspec.UNSET

    def selection(self, network, divisions=(0,)):
        key = key_of(network)
        always = self.selections.get(key, self.accuracies[key])
        return estimate([self.divisions.get((key, division), always) for division in divisions])

    def gain(self, before, after, *, on_test=False, divisions=(0,)):
        """`error` is that of every gain."""
        keys = key_of(before), key_of(after)
        self.compared_gains.append((*keys, *divisions))
        table = self.accuracies if on_test else self.accuracies | self.selections
        return Gain(table[keys[1]] - table[keys[0]], self.error, 1.96 * self.error)

    def posterior(self, networks, divisions=ONE):
        """`error` is that of every difference, with one division into folds or several."""
        keys = [(key_of(network), range(divisions.get(network, 1))) for network in networks]
        table = self.accuracies | (self.selections if self.on_folds else {})
        scores = [
            np.mean([self.divisions.get((key, d), table[key]) for d in each]) for key, each in keys
        ]
        return posterior(np.array(scores), self.error**2 / 2 * np.eye(len(scores)))

    def complement(self, pool, other):
        return self.complements.get(f"{key_of(pool)}|{key_of(other)}")

    def similarities(self, networks):
        keys = list(map(key_of, networks))
        return np.array(
            [[self.pairs[frozenset((a, b))] if a != b else 1.0 for b in keys] for a in keys]
        )


def _key(words):
    name, dot, rest = words.partition(".")
    return "+".join(sorted(name.split())) + dot + rest


def _keyed(table):
    return {_key(words): value for words, value in table.items()}


@pytest.fixture
def fake(make_evaluation, monkeypatch):
    """`fake(accuracies, similarities={}, selections={}, teachers=(), start=False)`.

    Each network costs 1 TFLOP, a further division of it into folds as many as `division` says.
    """

    def cost(evidence, networks, divisions=ONE):
        further = sum(number - 1 for number in divisions.values())
        return 1e12 * (len({*networks}) + evidence.division * further)

    monkeypatch.setattr(rounds, "cost", cost)

    def make(accuracies, similarities=None, selections=None, *, teachers=(), start=False):
        tables = accuracies, similarities or {}, selections or {}
        return FakeEvidence(make_evaluation, *tables, teachers, start)

    return make


@pytest.fixture
def drive():
    """`drive(plan)`: what a plan finds when all that it asks for is there."""

    def run(plan):
        try:
            while True:
                next(plan)
        except StopIteration as end:
            return end.value

    return run
