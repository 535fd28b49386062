"""From a config to a finished run."""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from assl_jax import records, report
from assl_jax.config import RunConfig, plain
from assl_jax.console import say, say_lines
from assl_jax.data.summary import summarise
from assl_jax.environment import keep_compiled
from assl_jax.errors import InputError, Unusable, require
from assl_jax.evaluation.embedding import Embedding, embed
from assl_jax.evaluation.export import export_backbone, load_backbone, load_models
from assl_jax.evaluation.gradcam import attend, example_test_images
from assl_jax.files import read_array
from assl_jax.forecast import say_plan, showing
from assl_jax.interop.start import describe_start
from assl_jax.records import Findings, Results
from assl_jax.report.before import data_lines
from assl_jax.report.examples import task_examples
from assl_jax.seeds import derived
from assl_jax.strategies import mtassl, self_assl
from assl_jax.strategies.comparing import FILE
from assl_jax.strategies.network import SCRATCH, START, Network
from assl_jax.strategies.pairs import pairs
from assl_jax.strategies.stages import Stage, StageCache, claimed
from assl_jax.strategies.study import Study
from assl_jax.studies import studies_of
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.processes import barrier, is_primary
from assl_jax.training.trackers import one_run, trackers_of
from assl_jax.workdir import begin, check_workdir

EXAMPLES = 4  # images that the report shows for each task, and with Grad-CAM


def _search(config: RunConfig, studies: list[Study]) -> Findings:
    teachers = tuple(config.teachers)
    return mtassl.search(studies[0], tasks=config.pool, settings=config.search, teachers=teachers)


def _compare(config: RunConfig, studies: list[Study]) -> Findings:
    second, control = config.self_assl.second, config.self_assl.second_run
    return self_assl.compare(studies, pools=config.twice, second=second, control=control)


def _singles(config: RunConfig) -> list[Network]:
    return [Network((name,)) for name in config.members]


def _candidates(config: RunConfig) -> list[Network]:
    return mtassl.begins_with(config.pool, tuple(config.teachers), config.search)


def _pool(config: RunConfig) -> list[Network]:
    return [Network(config.members)]


def _distilled(config: RunConfig) -> list[Network]:
    distilled = len(config.members) > 1 and config.pretrain.mixing == "distil"
    return _singles(config) if distilled else []


class Experiment(NamedTuple):
    """What a config can ask for.

    Attributes:
      run: does it.
      begins_with: the networks that are trained first.
      then: a sentence on what follows these networks.
      parts: networks that are only pretrained, because others build on them.
      needs_labels: whether it compares networks by their accuracy.
    """

    run: Callable[[RunConfig, list[Study]], Findings]
    begins_with: Callable[[RunConfig], list[Network]]
    then: str = ""
    parts: Callable[[RunConfig], list[Network]] = lambda config: []
    needs_labels: bool = True


HALVED = "The better half of these tasks goes on after each rung. "
TWICE = "Then each of these networks is pretrained a second time and fine-tuned."
EXPERIMENTS = {
    "mtassl": Experiment(  # Algorithm 1, Tables 2 and 3
        _search,
        _candidates,
        "Then the search trains pools of these networks, one after the other, while they help.",
    ),
    "pairs": Experiment(  # Table 1
        lambda config, studies: pairs(studies[0], tasks=config.pool),
        _singles,
        "Then every pair of these tasks is trained together.",
    ),
    "table4": Experiment(_compare, _singles, TWICE),  # every task with and without Self-ASSL
    "self_assl": Experiment(_compare, _pool, TWICE),  # one pool with and without Self-ASSL
    "pretrain": Experiment(  # one pool
        lambda config, studies: mtassl.single(studies[0], pool=config.members),
        _pool,
        parts=_distilled,
        needs_labels=False,
    ),
    "finetune": Experiment(  # the start weights alone
        lambda config, studies: mtassl.start_alone(studies[0]), lambda config: []
    ),
}


def run(
    config: RunConfig,
    workdir: Path,
    stages: Path | None = None,
    *,
    reuse_settings: bool = False,
    again: bool = False,
    dry_run: bool = False,
    plan: bool = True,
    beside: AbstractContextManager[None] | None = None,
) -> None:
    """Run the experiment that `config` describes, or continue it, in `workdir`.

    Finished stages are read, not repeated. Where everything is finished, nothing is written.

    Args:
      config: see `config.typed`.
      workdir: folder of the run.
      stages: folder of finished stages that runs share; by default `stages` next to `workdir`.
      reuse_settings: accept finished stages of the same settings that other code computed.
      again: replace the results of a finished run whose images have changed since.
      dry_run: stop after the description of the images and the plan; nothing is written.
      plan: say what is to be done and how long it takes, for which a few steps are timed.
      beside: is entered while networks are trained and compared, see `jobs.helpers`.

    Raises:
      InputError: anything that the user can correct.
      Interrupted: a stop was requested.
    """
    settings, config = plain(config), config.in_force
    stages = stages or workdir.parent / "stages"
    experiment = EXPERIMENTS[config.experiment]
    check_workdir(workdir, stages, settings)
    dataset = config.data.load()
    summary = summarise(dataset)
    say_lines(data_lines(summary))
    require(
        bool(dataset.labelled_sets) or not experiment.needs_labels,
        "the data have no labels, so networks cannot be compared; add labelled images, or pretrain "
        "one task with --config=configs/pretrain.py",
    )
    cache = StageCache(stages, reuse_settings)
    studies = studies_of(config, dataset, cache)
    for study in studies:
        study.check(config.self_assl.second.penalty, pretrains=bool(experiment.begins_with(config)))
    data_digest = studies[0].setup.data_digest
    old = _finished(workdir / records.RESULTS) if is_primary() else None
    require(
        again or not (old and old.data_digest) or old.data_digest == data_digest,
        f"the images or labels have changed since {workdir} was finished; --again replaces its "
        "results, another --workdir keeps both",
    )
    if config.keep_compiled and not dry_run:
        keep_compiled(stages.parent / "compiled")
    networks = experiment.begins_with(config)
    halved = HALVED if any(network.share < 1 for network in networks) else ""
    beginning = (networks, experiment.parts(config), halved + experiment.then)
    if dry_run:
        say_plan(config, studies, *beginning)
        return
    begin(workdir, stages, settings)
    with beside or nullcontext(), one_run(workdir, trackers_of(config.log_to)):
        # Without a pretraining the plan is short, and only `dry_run` says it.
        outlook = say_plan(config, studies, *beginning) if plan and networks else None
        with showing(outlook, studies):
            findings = experiment.run(config, studies)
    kept = _kept(findings)
    results = Results(
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
        over_scratch=studies[0].evaluating.over_scratch(kept)
        if kept and kept != SCRATCH and findings.scratch
        else None,
        skipped=dataset.skipped,
        stages=os.path.relpath(stages, workdir),
        networks=tuple(network for study in studies for network in study.record()),
        reused=tuple(cache.reused),
        data_digest=data_digest,
        start_weights=describe_start(config.init.path) if config.init.path else None,
    )
    # All processes look up the stages; the primary one alone writes.
    best = seen = None
    if kept and kept.has_weights:
        best = studies[0].pretraining.run(kept)
        seen = studies[0].comparing.features(kept, subset="held_out")
    with claimed(workdir):
        if is_primary():
            _write(workdir, studies, settings, results, best, seen)
    barrier()  # before the last words: whoever listens may be gone
    if is_primary():
        print("\n" + "\n".join(report.summary_lines(results)))
        print(f"\nReport: {workdir / 'report' / 'index.html'}")


def _kept(findings: Findings) -> Network | None:
    """The network that the run ends with."""
    best = findings.best
    if best is None:
        return Network(findings.pretrained) if findings.pretrained else None
    return Network(best.pool, as_long_as=best.as_long_as, start=best.variant == START.variant)


def _write(
    workdir: Path,
    studies: list[Study],
    settings: dict[str, Any],
    results: Results,
    best: Stage | None,
    seen: Stage | None,
) -> None:
    """Write the backbone, the report and the results; do not rewrite files that are still valid.

    Only the primary process is here, so no stage can be looked up.
    """
    path = workdir / records.RESULTS
    old = _finished(path)
    known = old == results
    if old and not known:
        counts = [f"{r.labels} labels, {r.test_images} test images" for r in (old, results)]
        say(f"{path} is replaced: the data or the program has changed ({', now '.join(counts)})")
    setup = studies[0].setup
    backbone = workdir / records.BACKBONE_FOLDER
    intact = known and _loads(workdir)
    if known and best and not intact:
        say(f"{backbone} is damaged or missing; it is written anew")
    if best and not intact:
        export_backbone(
            backbone,
            studies[0].pretraining.load(best),
            settings=dict(setup.backbone_settings),
            intensity=setup.dataset.intensity,
            pool=results.best.pool if results.best else results.pretrained,
        )
    elif not best and backbone.exists():  # of earlier data, for which another network was kept
        shutil.rmtree(backbone)
    if not known or not (workdir / "report" / "index.html").exists():
        sample = setup.dataset.images[setup.dataset.unlabeled[:EXAMPLES]]
        finished = setup.stages.finished
        models = load_models(workdir, results, _explained(results))
        report.write_report(
            workdir / "report",
            report.RunRecord(
                results=results,
                config=settings,
                environment=records.read_settings(workdir / records.ENVIRONMENT),
                # With the labels of this run: another run may have computed the stage.
                metrics=[
                    record.replace(label=stage.label)
                    for stage in finished
                    for record in MetricsLog(stage.folder).read()
                ],
                stages=[stage.record.replace(label=stage.label) for stage in finished],
                examples={name: task_examples(t, sample) for name, t in setup.tasks.items()},
                attention=attend(models, *example_test_images(setup.dataset, EXAMPLES))
                if models
                else None,
                embedding=_embedding(studies[0], seen),
            ),
        )
    if not known:
        records.write(path, results)


def _finished(path: Path) -> Results | None:
    """The results of an earlier run; None without them, or if they are damaged."""
    try:
        return records.read(path, Results) if path.exists() else None
    except Unusable:
        say(f"{path} is damaged, or of another version; it is written anew")
        return None


def _loads(workdir: Path) -> bool:
    """Whether the exported backbone is there and undamaged."""
    try:
        load_backbone(workdir)
    except InputError:
        return False
    return True


def _embedding(study: Study, seen: Stage | None) -> Embedding | None:
    """Test images as the kept network sees them, whose features are in the stage `seen`."""
    setup = study.setup
    if seen is None or not setup.dataset.class_names:
        return None
    rows = setup.plain_images.rows["held_out"]
    return embed(
        read_array(seen.folder / FILE), rows, setup.dataset, seed=derived(setup.seed, "map")
    )


def _explained(results: Results) -> list[str]:
    """Labels of the few networks that the report explains with Grad-CAM."""
    variants = {"scratch", "start", "plain", "longer"}
    pools: list[records.Pool] = [results.best.pool] if results.best else []
    if results.self_assl:
        variants.add("self_assl")
        rows = results.self_assl.backbones[0].rows
        pools = [row.pool for row in sorted(rows, key=lambda row: -abs(row.difference.mean))[:2]]
    wanted = [set(), *map(set, pools)]
    return [
        network.label
        for network in results.networks
        if network.backbone == results.networks[0].backbone
        and network.variant in variants
        and set(network.pool) in wanted
    ]
