"""From a config to a finished run."""

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from ml_collections import ConfigDict

from assl_jax import console, records, report, signals
from assl_jax.config import RunConfig, plain
from assl_jax.config_reading import typed
from assl_jax.console import say, say_lines
from assl_jax.data import Dataset
from assl_jax.data.summary import summarise
from assl_jax.environment import keep_compiled
from assl_jax.errors import InputError, require
from assl_jax.experiments import EXPERIMENTS, HALVED
from assl_jax.files import LOCK, waiting_lock
from assl_jax.finishing import finish, finished
from assl_jax.interop.start import describe_start
from assl_jax.records import SCRATCH, DataSummary, Findings, Results
from assl_jax.report.before import data_lines, plan_lines
from assl_jax.store import Store, open_store
from assl_jax.strategies import comparing
from assl_jax.strategies.checks import check
from assl_jax.strategies.computing import stages_of
from assl_jax.strategies.engines import Engine, Here
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.outlook import Outlook, Pace, pace
from assl_jax.strategies.pricing import planned
from assl_jax.strategies.scheduler import Scheduler
from assl_jax.strategies.settings import in_compute, in_minutes
from assl_jax.strategies.stage import Plan, StageSpec, with_parents
from assl_jax.studies import studies_of
from assl_jax.training.processes import barrier, broadcast, is_primary
from assl_jax.training.trackers import one_run, trackers_of
from assl_jax.workdir import begin, check_workdir, recorded_budget


class Run:
    """A config and its data, and the plan that they give.

    Attributes:
      asked: the config that was asked for; minutes of its budget become compute, see `spend`.
      config: the same with the values in force.
      dataset: the images and labels.
      stages: looks up and computes stages.
      evidences: of the studies, one for each backbone.
    """

    def __init__(
        self, config: RunConfig, dataset: Dataset, store: Store, *, reuse_settings: bool = False
    ) -> None:
        """Make the studies.

        Args:
          config: a config.
          dataset: its data.
          store: of finished stages, which runs share.
          reuse_settings: accept finished stages of the same settings that other code computed.

        Raises:
          InputError: weights that do not fit.
        """
        self.asked, self.config, self.dataset = config, config.in_force, dataset
        self.experiment = EXPERIMENTS[config.experiment]
        self.studies = studies_of(self.config, dataset)
        self.stages = stages_of(self.studies, store, reuse_settings=reuse_settings)
        self.evidences = [Evidence(study, self.stages) for study in self.studies]
        self._known: dict[str, StageSpec] = {}

    def spend(self, budget: str) -> None:
        """Set `search.budget`, in place of the one that was asked for."""
        search = dataclasses.replace(self.asked.search, budget=budget)
        self.asked = dataclasses.replace(self.asked, search=search)
        self.config = self.asked.in_force

    @functools.cached_property
    def pace(self) -> Pace:
        """How fast this machine trains, measured once."""
        return pace(self.studies[0])

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan, which can be carried out once: the experiment, and what its report reads."""
        findings = yield from self.experiment.plan(self.config, self.evidences)
        kept = findings.best.network if findings.best else findings.pretrained
        if kept and kept.has_weights:
            yield [comparing.features(self.studies[0], kept, "held_out")]
        return findings

    def find(self, name: str) -> StageSpec:
        """A stage of the plan by its name; what comes before it must be finished.

        Raises:
          InputError: no such stage.
        """
        while name not in self._known:
            ready = all(self.stages.find(spec) for spec in [*self._known.values()])
            specs = next(self.plan, None) if ready else None
            if specs is None:
                raise InputError(
                    f"the plan has no stage {name} yet; start all workers with the same version "
                    "of the program, data and folder of stages"
                )
            self._known |= {spec.name: spec for spec in with_parents(specs)}
        return self._known[name]


def run(
    config: RunConfig,
    workdir: Path,
    stages: str | Path | None = None,
    *,
    dataset: Dataset | None = None,
    reuse_settings: bool = False,
    again: bool = False,
    engine: Engine | None = None,
) -> Results:
    """Run the experiment that `config` describes, or continue it, in `workdir`.

    Finished stages are read, not repeated. Where everything is finished, nothing is written.

    Args:
      config: see `config_reading.typed`.
      workdir: folder of the run.
      stages: finished stages that runs share, a folder or an address that `open_store` takes; by
        default `stages` next to `workdir`.
      dataset: images and labels in memory, in place of those that `config.data` names.
      reuse_settings: accept finished stages of the same settings that other code computed.
      again: replace the results of a finished run whose images have changed since.
      engine: where stages are computed; by default in this process.

    Raises:
      InputError: anything that the user can correct.
      Interrupted: a stop was requested.
    """
    stages = stages or workdir.parent / "stages"
    engine = engine or Here()
    require(
        dataset is None or isinstance(engine, Here),
        "images in memory are of this process; leave out the engine",
    )
    whole, summary = _prepared(config, workdir, stages, dataset, reuse_settings)
    store = whole.stages.store
    _check_finished(workdir, whole.studies[0].data_digest, again)
    if config.keep_compiled:
        keep_compiled(store.root.parent / "compiled")
    begin(workdir, store.root, plain(whole.asked))
    # Another process may have begun the run at the same time, at another pace.
    whole.spend(broadcast(recorded_budget(workdir, config.search.budget)))
    message = _message(plain(whole.asked), workdir, stages, reuse_settings)
    with one_run(workdir, trackers_of(config.log_to)), _showing(whole):
        scheduler = Scheduler(
            whole.stages,
            engine,
            None if isinstance(engine, Here) else lambda spec: (work, message, spec.name),
        )
        findings = scheduler.carry_out(whole.plan)
    results = _results(whole, findings, summary, os.path.relpath(store.root, workdir))
    with waiting_lock(workdir / LOCK) if is_primary() else contextlib.nullcontext():
        if is_primary():
            finish(workdir, whole.evidences, results)
    barrier()  # before the last words: whoever listens may be gone
    if is_primary():
        print("\n" + "\n".join(report.summary_lines(results)))
        print(f"\nReport: {workdir / 'report' / 'index.html'}")
    return results


def dry_run(
    config: RunConfig,
    workdir: Path,
    stages: str | Path | None = None,
    *,
    reuse_settings: bool = False,
    again: bool = False,
) -> None:
    """Describe the images and the plan of a run; nothing is written.

    Args:
      config, workdir, stages, reuse_settings, again: as for `run`.

    Raises:
      InputError: anything that the user can correct.
    """
    stages = stages or workdir.parent / "stages"
    whole, _ = _prepared(config, workdir, stages, None, reuse_settings)
    _check_finished(workdir, whole.studies[0].data_digest, again)
    _say_plan(whole)


def _prepared(
    config: RunConfig,
    workdir: Path,
    stages: str | Path,
    dataset: Dataset | None,
    reuse_settings: bool,
) -> tuple[Run, DataSummary]:
    """A run whose settings fit its data, which are described; nothing is written yet."""
    store, experiment = open_store(stages), EXPERIMENTS[config.experiment]
    check_workdir(workdir, store.root, plain(config))
    dataset = dataset or config.data.load()
    summary = summarise(dataset)
    say_lines(data_lines(summary))
    require(
        bool(dataset.labelled_sets) or not experiment.needs_labels,
        "the data have no labels, so networks cannot be compared; add labelled images, or pretrain "
        "one task with --config=configs/pretrain.py",
    )
    whole = Run(config, dataset, store, reuse_settings=reuse_settings)
    for study in whole.studies:
        check(study, pretrains=bool(experiment.begins_with(config, study)))
    _count_minutes(whole, workdir)
    for evidence in whole.evidences:
        experiment.follows(whole.config, evidence)  # refuses a budget that is too small
    return whole, summary


def _count_minutes(whole: Run, workdir: Path) -> None:
    """Turn a budget of minutes into the compute that the workdir has recorded, or measure it."""
    search = whole.config.search
    if whole.config.experiment != "mtassl" or search.as_printed or not in_minutes(search.budget):
        return
    budget = broadcast(recorded_budget(workdir, search.budget))
    if in_minutes(budget):
        budget = in_compute(budget, whole.pace.flops_per_s)
    whole.spend(budget)
    say(f"search.budget={search.budget} is {budget.partition(' (')[0]} at this machine's pace")


def work(message: str, name: str) -> bool:
    """Compute a stage of a run, as a worker of an engine; False if another worker does.

    Args:
      message: says which run it is.
      name: of the stage.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ValueError):  # only a main thread can answer signals
            held.enter_context(signals.stoppable(quiet=True))
        whole = _run_of(message)
        return whole.stages.make(whole.find(name))


def _message(settings: dict[str, Any], workdir: Path, stages: str | Path, reuse: bool) -> str:
    """What a worker must know to make the same plan; paths in settings start at the same folder."""
    known = {
        "settings": settings,
        "folder": os.getcwd(),
        "code": [path for path in sys.path if os.path.isdir(path)],  # a user's own tasks
        "workdir": str(workdir.absolute()),
        "stages": str(stages.absolute() if isinstance(stages, Path) else stages),
        "reuse": reuse,
    }
    return json.dumps(known, sort_keys=True)


@functools.lru_cache(maxsize=1)
def _run_of(message: str) -> Run:
    """The run of a worker, which stays the same from stage to stage."""
    console.set_quiet(True)
    known = json.loads(message)
    require(
        os.path.isdir(known["folder"]),
        f"a worker does not see the folder {known['folder']}; all machines must see the same ones",
    )
    os.chdir(known["folder"])
    sys.path += [path for path in known["code"] if path not in sys.path]
    config = typed(ConfigDict(records.as_settings(known["settings"])))
    store, workdir = open_store(known["stages"]), Path(known["workdir"])
    if config.keep_compiled:
        keep_compiled(store.root.parent / "compiled")
    trackers = one_run(workdir, trackers_of(config.log_to))
    trackers.__enter__()
    atexit.register(trackers.__exit__, None, None, None)
    return Run(config, config.data.load(), store, reuse_settings=known["reuse"])


def _check_finished(workdir: Path, data_digest: str, again: bool) -> None:
    old = finished(workdir / records.RESULTS) if is_primary() else None
    require(
        again or not (old and old.data_digest) or old.data_digest == data_digest,
        f"the images or labels have changed since {workdir} was finished; --again replaces its "
        "results, another --workdir keeps both",
    )


def _say_plan(whole: Run) -> Outlook | None:
    """Say what is to be done and how long it takes, unless all of the beginning is finished."""
    config, experiment = whole.config, whole.experiment
    works, follows, halved = [], [], False
    for evidence in whole.evidences:
        networks = experiment.begins_with(config, evidence.study)
        halved = halved or any(network.share < 1 for network in networks)
        works += planned(evidence, networks, experiment.parts(config, evidence.study))
        follows += experiment.follows(config, evidence)
    if all(each.finished for each in works):
        return None
    speed, then = whole.pace, HALVED * halved + experiment.then
    say_lines(plan_lines(works, speed, then, follows))
    return Outlook(whole.evidences[0], works, follows, speed)


@contextlib.contextmanager
def _showing(whole: Run) -> Iterator[None]:
    """Say the plan; inside, `console.Progress` shows how much of the whole run is left."""
    pretrains = whole.experiment.begins_with(whole.config, whole.studies[0])
    # Without a pretraining the plan is short, and only a dry run says it.
    outlook = _say_plan(whole) if pretrains else None
    try:
        if outlook:
            outlook.tell()
            whole.stages.told = outlook.finished
        yield
    finally:
        whole.stages.told = None
        console.expect_nothing()


def _results(whole: Run, findings: Findings, summary: DataSummary, stages: str) -> Results:
    config, dataset, evidence = whole.config, whole.dataset, whole.evidences[0]
    kept = findings.best.network if findings.best else None
    return Results(
        **msgspec.structs.asdict(findings),
        experiment=config.experiment,
        data=dataset.name,
        space=dataset.space,
        seed=config.seed,
        select_on=config.search.select_on,
        metric=config.search.metric,
        labels=len(dataset.labelled_sets[0]) if dataset.labelled_sets else 0,
        test_images=len(dataset.test),
        classes=dataset.class_names,
        patients=dataset.test_patients,
        images=summary,
        over_scratch=evidence.over_scratch(kept)
        if kept and kept != SCRATCH and findings.scratch
        else None,
        skipped=dataset.skipped,
        stages=stages,
        networks=tuple(network for each in whole.evidences for network in each.record()),
        reused=whole.stages.reused,
        data_digest=whole.studies[0].data_digest,
        start_weights=describe_start(config.init.path) if config.init.path else None,
    )
