"""A search on record: its scores without its networks, so that rules can be replayed on them."""

import dataclasses
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from assl_jax.config_reading import typed
from assl_jax.experiment import Run
from assl_jax.records import Evaluation, Findings, Network
from assl_jax.store import Store
from assl_jax.strategies import comparing, mtassl
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.finetuning import cross_validate
from assl_jax.strategies.rounds import DIVISIONS
from benchmarks.search import configured


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a search reads of its networks.

    Attributes:
      networks: in the order of their evaluation.
      evaluations: of the networks, without their confusion.
      folds: by network and number of the division into folds, `[n, k]` probabilities of the
        labelled images by networks that have not seen them.
      compared: the networks of `similarity`.
      similarity: LCKA between them.
    """

    networks: tuple[Network, ...]
    evaluations: tuple[Evaluation, ...]
    folds: Mapping[tuple[Network, int], np.ndarray]
    compared: tuple[Network, ...]
    similarity: np.ndarray


class Recorded(Evidence):
    """Evidence that answers from scores on record; nothing is trained.

    Raises:
      KeyError: a network that is not on record.
    """

    def __init__(self, study: Any, scores: Scores) -> None:
        super().__init__(study, None)  # type: ignore[arg-type]  # it has no stages
        self.scores = scores
        self.known = dict(zip(scores.networks, scores.evaluations, strict=True))

    def evaluated(
        self, networks: Sequence[Network], divisions: Sequence[int] = (), *, tested: bool = True
    ) -> Generator[Any, None, None]:
        self.networks |= dict.fromkeys(networks)
        yield from ()

    def compared(
        self, networks: Sequence[Network], subset: str = "unlabeled"
    ) -> Generator[Any, None, None]:
        yield from ()

    def evaluate(self, network: Network) -> Evaluation:
        return self.known[network]

    def similarities(self, networks: Sequence[Network], subset: str = "unlabeled") -> np.ndarray:
        rows = [self.scores.compared.index(network) for network in networks]
        return self.scores.similarity[np.ix_(rows, rows)]

    def _out_of_fold(self, network: Network, division: int) -> list[np.ndarray]:
        return [self.scores.folds[network, division]]


def run_of(config: str, *settings: str, store: Store) -> Run:
    """A run of a config of the project by its name, with settings `KEY=VALUE`."""
    tree = typed(configured(f"configs/{config}.py", [*settings], ""))
    return Run(tree, tree.data.load(), store)


def replay(run: Run, scores: Scores) -> Findings:
    """What a search finds by today's rules."""
    plan = mtassl.search(Recorded(run.studies[0], scores), run.config.search)
    try:
        while True:
            next(plan)
    except StopIteration as end:
        return end.value


def scores_of(evidence: Evidence, networks: Sequence[Network]) -> Scores:
    """The scores of networks that are evaluated; each has one pretraining."""
    study, stages = evidence.study, evidence.stages
    folds = {
        (network, division): evidence._out_of_fold(network, division)[0]
        for network in networks
        for division in range(DIVISIONS)
        if stages.find(cross_validate(study, network, evidence.learning_rate(network), division))
    }
    compared = [n for n in networks if stages.find(comparing.features(study, n))]
    return Scores(
        tuple(networks),
        tuple(evidence.evaluate(network).replace(confusion=()) for network in networks),
        folds,
        tuple(compared),
        evidence.similarities(compared),
    )


def write(file: Path, scores: Scores, facts: Mapping[str, Any]) -> None:
    """Write scores, and facts that JSON can hold; probabilities to three digits."""
    index = [[scores.networks.index(n), division] for n, division in scores.folds]
    told = {
        **facts,
        "networks": msgspec.to_builtins(scores.networks),
        "evaluations": msgspec.to_builtins(scores.evaluations),
        "folds": index,
        "compared": [scores.networks.index(n) for n in scores.compared],
    }
    logs = np.log(np.stack([*scores.folds.values()]).clip(np.finfo(np.float16).tiny))
    np.savez_compressed(
        file,
        facts=np.array(json.dumps(told)),
        log_probabilities=logs.astype(np.float16),
        similarity=scores.similarity.astype(np.float32),
    )


def read(file: Path) -> tuple[Scores, dict[str, Any]]:
    """The scores and the facts that `write` has written."""
    with np.load(file) as arrays:
        facts = json.loads(str(arrays["facts"]))
        p = np.exp(arrays["log_probabilities"].astype(np.float64))
        similarity = arrays["similarity"]
    networks = msgspec.convert(facts["networks"], tuple[Network, ...])
    scores = Scores(
        networks,
        msgspec.convert(facts["evaluations"], tuple[Evaluation, ...]),
        {
            (networks[i], division): each / each.sum(1, keepdims=True)
            for (i, division), each in zip(facts["folds"], p, strict=True)
        },
        tuple(networks[i] for i in facts["compared"]),
        similarity,
    )
    return scores, facts
