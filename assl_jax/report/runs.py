"""Finished runs, read back from their folders, and those of several seeds joined."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from assl_jax.errors import InputError, require
from assl_jax.report import paper
from assl_jax.report.metrics_table import Entry, Tested, every, measured
from assl_jax.report.record import display_backbone

Key = tuple[frozenset[str], str]  # a pool in any order, and its variant


class Run(NamedTuple):
    """What a run left in its folder; `config` and `environment` are empty where it left none."""

    name: str
    results: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]

    @property
    def seed(self) -> Any:
        return self.results.get("seed", self.config.get("seed"))

    @property
    def data(self) -> str:
        """The source's name, and that of the file or folder that it read."""
        name = str(self.results.get("data") or "")
        path = (self.config.get("data") or {}).get("path")
        return f"{name}: {Path(path).name}" if path else name

    @property
    def backbone(self) -> str:
        return (self.config.get("backbone") or {}).get("name", "")


class Column(NamedTuple):
    """Runs that differ in nothing but their seed, with one backbone: a column of the comparison.

    Attributes:
      name: for readers.
      runs: one for each seed.
      backbone: its name, "" where it is not known.
      found: what was tested in each of the runs.
    """

    name: str
    runs: list[Run]
    backbone: str
    found: dict[Key, list[Tested]]

    @property
    def rank(self) -> int:
        return paper.rank(self.runs[0].results)

    def score(self, key: Key, metric: str) -> tuple[float | None, float | None]:
        """Mean and standard deviation of a metric: over the seeds where there are several runs,
        otherwise over the run's own fine-tunings. None for what was not measured."""
        entries = [network.entry for network in self.found.get(key, [])]
        each = [s for s in (_score(entry, metric) for entry in entries) if s[0] is not None]
        if not each:
            return None, None
        if len(self.runs) == 1:
            return each[0]
        means = [mean for mean, _ in each if mean is not None]
        return statistics.fmean(means), statistics.stdev(means) if len(means) > 1 else None


def _score(entry: Entry, metric: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation over one run's fine-tunings."""
    if metric == "accuracy":
        return entry.get("accuracy"), entry.get("std")
    figures = measured(entry, metric)
    return figures.get("mean"), figures.get("std")


def key_of(network: Tested) -> Key:
    return frozenset(network.pool), network.variant


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The finished runs in `folders`, under names that tell them apart.

    Raises:
      InputError: a folder is missing or named twice, holds no finished run, or a broken file.
    """
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        require(places.count(place) == 1, f"{folder} is named twice; name each run once")
    names = [place.name for place in places]
    return [
        _read(folder, place.name if names.count(place.name) == 1 else str(folder))
        for folder, place in zip(folders, places, strict=True)
    ]


def _read(folder: Path, name: str) -> Run:
    require(folder.is_dir(), f"{folder} is no folder; name the --workdir of a run")
    require(
        (folder / "results.json").exists(),
        f"{folder} holds no finished run (no results.json); let it finish first",
    )
    files = ("results.json", "config.json", "environment.json")
    return Run(name, *(_json(folder / file) for file in files))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; run it again") from error
    require(isinstance(found, dict), f"{path} holds no JSON object; run it again")
    return found


def columns_of(runs: Iterable[Run]) -> list[Column]:
    """One column for each set of settings and each backbone.

    Runs whose settings differ in nothing but `seed` share one. A run without settings, or with a
    seed that is there already, stays alone.
    """
    groups: dict[tuple[str, int], list[Run]] = {}
    for i, run in enumerate(runs):
        rest = {key: value for key, value in run.config.items() if key != "seed"}
        settings = json.dumps(rest, sort_keys=True) if rest else f"run {i}"
        again = 0
        while run.seed in [other.seed for other in groups.get((settings, again), [])]:
            again += 1
        groups.setdefault((settings, again), []).append(run)
    return [column for group in groups.values() for column in _columns(group)]


def _columns(group: list[Run]) -> list[Column]:
    found: dict[str, dict[Key, list[Tested]]] = {}
    for run in group:
        for network in every(run.results):
            column = found.setdefault(network.backbone, {})
            column.setdefault(key_of(network), []).append(network)
    name = group[0].name
    if len(group) > 1:
        name += f" … {group[-1].name} ({len(group)} seeds)"
    return [
        Column(
            f"{name}, {display_backbone(backbone)}" if backbone else name,
            group,
            backbone or _backbone(group[0]),
            networks,
        )
        for backbone, networks in (found or {"": {}}).items()
    ]


def _backbone(run: Run) -> str:
    """The one backbone of a run; a comparison with and without Self-ASSL names it itself."""
    groups: list[Mapping[str, Any]] = (run.results.get("self_assl") or {}).get("backbones") or []
    return groups[0]["backbone"] if len(groups) == 1 else run.backbone
