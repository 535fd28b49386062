"""Finished runs, read back from their folders; runs of several seeds are joined."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from assl_jax import records
from assl_jax.errors import lookup, require
from assl_jax.evaluation.scores import METRICS
from assl_jax.evaluation.uncertainty import estimate
from assl_jax.records import Estimate, Results
from assl_jax.report.evaluations import Tested, every_network
from assl_jax.report.names import backbone_title


class Key(NamedTuple):
    """A pretraining: its tasks in any order (none from scratch), and its variant."""

    pool: frozenset[str]
    variant: str

    @classmethod
    def of(cls, network: Tested) -> "Key":
        return cls(frozenset(network.label.pool), network.label.variant)


class Run(NamedTuple):
    """The files of a finished run; `name` is for readers."""

    name: str
    results: Results
    config: dict[str, Any]
    environment: dict[str, Any]

    @property
    def data(self) -> str:
        """The data source, and the file or folder that it read."""
        path = self.config["data"].get("path")
        return f"{self.results.data}: {Path(path).name}" if path else self.results.data


class Column(NamedTuple):
    """Runs that differ only in their seed, with one backbone: a column of the comparison.

    Attributes:
      title: for readers.
      runs: one for each seed.
      backbone: name of the architecture.
      tested: each pretraining's networks, at most one from each run.
    """

    title: str
    runs: list[Run]
    backbone: str
    tested: dict[Key, list[Tested]]

    @property
    def rank(self) -> int:
        """Number of axes of an image, 2 or 3."""
        return len(self.runs[0].results.space)

    def score(self, key: Key, metric: str) -> Estimate | None:
        """A metric over the fine-tunings of one run, or over the means of several runs.

        None if it was not measured.
        """
        networks = self.tested.get(key, [])
        found = [e for n in networks if (e := n.evaluation.metrics.get(metric))]
        if not found or len(self.runs) == 1:
            return found[0] if found else None
        return estimate([e.mean for e in found])


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read the finished runs in `folders`; runs get different names.

    Raises:
      InputError: a folder is missing or named twice, holds no finished run, or a damaged file.
    """
    absolute = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, absolute, strict=True):
        require(absolute.count(path) == 1, f"{folder} is named twice; name each run once")
    names = [path.name for path in absolute]
    return [
        _read(folder, path.name if names.count(path.name) == 1 else str(folder))
        for folder, path in zip(folders, absolute, strict=True)
    ]


def _read(folder: Path, name: str) -> Run:
    require(folder.is_dir(), f"{folder} is no folder; name the --workdir of a run")
    for file in (records.RESULTS, records.CONFIG, records.ENVIRONMENT):
        require(
            (folder / file).exists(),
            f"{folder} holds no finished run (no {file}); let it finish first",
        )
    results = records.read(folder / records.RESULTS, Results)
    lookup(METRICS, results.metric, f"{folder / records.RESULTS}: metric")
    config = records.read_settings(folder / records.CONFIG)
    require(
        isinstance(config.get("data"), dict),
        f"{folder / records.CONFIG} is not the config of a run; delete it and run again",
    )
    return Run(name, results, config, records.read_settings(folder / records.ENVIRONMENT))


def columns_of(runs: Iterable[Run]) -> list[Column]:
    """One column for each set of settings and each backbone.

    Runs that differ only in their seed share a column. A second run with the same seed gets a
    column of its own.
    """
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        settings = json.dumps({k: v for k, v in run.config.items() if k != "seed"}, sort_keys=True)
        number = 0  # of the columns with these settings
        while run.results.seed in [r.results.seed for r in groups.get((settings, number), [])]:
            number += 1
        groups.setdefault((settings, number), []).append(run)
    return [column for group in groups.values() for column in _columns(group)]


def _columns(group: list[Run]) -> list[Column]:
    tested: dict[str, dict[Key, list[Tested]]] = {}
    for run in group:
        for network in every_network(run.results):
            column = tested.setdefault(network.label.backbone, {})
            column.setdefault(Key.of(network), []).append(network)
    title = group[0].name
    if len(group) > 1:
        title += f" … {group[-1].name} ({len(group)} seeds)"
    only = next((network.backbone for network in group[0].results.networks), "")
    return [
        Column(
            f"{title}, {backbone_title(backbone)}" if backbone else title,
            group,
            backbone or only,
            networks,
        )
        for backbone, networks in (tested or {"": {}}).items()
    ]
