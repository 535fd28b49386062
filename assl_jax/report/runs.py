"""Finished runs, read back from their folders; runs of several seeds are joined."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from assl_jax import records
from assl_jax.errors import lookup, require
from assl_jax.evaluation.scores import METRICS
from assl_jax.evaluation.uncertainty import estimate
from assl_jax.records import Estimate, Results
from assl_jax.report.evaluations import Tested, every_network
from assl_jax.report.names import backbone_title
from assl_jax.report.record import RunRecord
from assl_jax.words import say

Key = tuple[frozenset[str], str]  # of a pretraining, see `Label.key`


class Run(NamedTuple):
    """A finished run; `name` is for readers."""

    name: str
    record: RunRecord

    @property
    def results(self) -> Results:
        return self.record.results

    @property
    def data(self) -> str:
        """The data source, and the file or folder that it read."""
        path = self.record.config["data"].get("path")
        return f"{self.results.data}: {Path(path).name}" if path else self.results.data


class Group(NamedTuple):
    """Runs that differ only in their seed, with one backbone: a column of the comparison."""

    title: str
    runs: list[Run]  # one for each seed
    backbone: str
    tested: dict[Key, list[Tested]]  # each pretraining's networks, at most one from each run

    @property
    def rank(self) -> int:
        """Number of axes of an image, 2 or 3."""
        return len(self.runs[0].results.space)

    def score(self, key: Key, metric: str) -> Estimate | None:
        """A metric over the fine-tunings of one run, or over the means of several; or None."""
        networks = self.tested.get(key, [])
        found = [e for n in networks if (e := n.evaluation.metrics.get(metric))]
        if not found or len(self.runs) == 1:
            return found[0] if found else None
        return estimate([e.mean for e in found])


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read the finished runs in `folders`; runs get different names."""
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
    environment = records.read_settings(folder / records.ENVIRONMENT)
    return Run(name, RunRecord(results, config, environment))


def groups_of(runs: Iterable[Run]) -> list[Group]:
    """One group for each set of settings and each backbone.

    A second run with the same settings and seed gets a group of its own.
    """
    alike: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        others = {key: value for key, value in run.record.config.items() if key != "seed"}
        settings = json.dumps(others, sort_keys=True)
        number = 0  # of the groups with these settings
        while run.results.seed in [r.results.seed for r in alike.get((settings, number), [])]:
            number += 1
        alike.setdefault((settings, number), []).append(run)
    return [group for some in alike.values() for group in _by_backbone(some)]


def _by_backbone(runs: list[Run]) -> list[Group]:
    tested: dict[str, dict[Key, list[Tested]]] = {}
    for run in runs:
        for network in every_network(run.results):
            keys = tested.setdefault(network.label.backbone, {})
            keys.setdefault(network.label.key, []).append(network)
    title = runs[0].name
    if len(runs) > 1:
        title = say("compare.column", first=title, last=runs[-1].name, number=len(runs))
    only = next((network.backbone for network in runs[0].results.networks), "")
    groups = []
    for backbone, networks in (tested or {"": {}}).items():
        words = {"title": title, "backbone": backbone_title(backbone)}
        named = say("compare.backbone", **words) if backbone else title
        groups.append(Group(named, runs, backbone or only, networks))
    return groups
