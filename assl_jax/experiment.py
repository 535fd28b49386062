"""From a config to a finished run; the only module that knows `ConfigDict`."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import assl_jax
from assl_jax import report
from assl_jax.data import Dataset, load, source_settings
from assl_jax.environment import environment, keep_compiled
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.export import META, export_backbone
from assl_jax.evaluation.gradcam import attend
from assl_jax.gradcam import fine_tuned, some_test_images
from assl_jax.models import make_backbone, suggest_delay
from assl_jax.report.examples import task_examples
from assl_jax.strategies import mtassl, self_assl
from assl_jax.strategies.check import check
from assl_jax.strategies.pairs import pairs
from assl_jax.strategies.settings import METRICS, SecondRun, SimilaritySettings, TargetSettings
from assl_jax.strategies.stages import Stage, StageCache, claimed, read_json, write_json
from assl_jax.strategies.study import Study
from assl_jax.tasks import TASKS, ProxyTask, make_task
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Training
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.penalty import Penalty
from assl_jax.training.processes import barrier, is_primary
from assl_jax.training.sharding import make_mesh

CHOICES = {
    "search.metric": METRICS,
    "search.select_on": ("cv", "test"),
    "search.candidates": ("argmin", "all"),
    "pretrain.budget": ("total", "per_task"),
    "similarity.estimator": ("biased", "unbiased"),
}


def base_config(data: str) -> ConfigDict:
    """Every setting with its default, for the data source named `data`.

    Keys are those of the classes that they are handed to: `data` of the source's function, `task.*`
    of the proxy tasks, `pretrain` and `target` of `Training` and `Optimiser`.
    """
    optimiser = _defaults(Optimiser)
    target = {"seeds": 3, "folds": 5, "shift": 0, "flip": False}
    training = {"steps": 1000, "batch_size": 128, "accumulate": 1}
    return ConfigDict(
        {
            "experiment": "mtassl",
            "seed": 0,
            "tasks": "src,mcpc,jigsaw,rotation,inpaint,simclr",
            "data": {"name": data, **source_settings(data)},
            "backbone": {
                "name": "resnet18",
                "width": 1.0,
                "stem": "imagenet",
                "dtype": "float32",
                "delay": (),  # what suits the images' shape, see `suggest_delay`
                "remat": False,
            },
            "pretrain": {**training, **optimiser, "budget": "total"},
            "target": {**training, **optimiser, "learning_rate": 1e-4, **target},
            "similarity": _defaults(SimilaritySettings),
            "self_assl": {
                **_defaults(Penalty),
                "weight": 1.0,
                "init_from": "f_p",
                "use": "f_prime",
                "second_run": False,  # a plain second run too, as a control
                "backbones": (),  # names; none: that of `backbone` alone
            },
            "search": {"select_on": "cv", "metric": "accuracy", "candidates": "argmin"},
            "task": {name: _defaults(kind) for name, kind in TASKS.items()},
            "images_on": "auto",
            "keep_compiled": True,
            "eval_batch_size": 256,
            "checkpoint_every": 1000,
            "log_every": 50,
        }
    )


def _defaults(kind: type) -> dict[str, Any]:
    """A dataclass's settings; the intensity is the data's to say."""
    fields = dataclasses.fields(kind)
    return {f.name: f.default for f in fields if f.name != "intensity"}


def run(config: ConfigDict, workdir: Path, stages: Path | None = None) -> None:
    """Run the experiment that `config` describes, or go on with it, in `workdir`.

    Finished stages are read, not repeated; where everything is finished nothing is written.

    Args:
      workdir: folder of the run.
      stages: folder of finished work that runs share; `stages` beside `workdir` by default.

    Raises:
      InputError: anything in the config or the data that the user can mend.
      Interrupted: a stop was asked for.
    """
    settings = config.to_dict()
    stages = stages or workdir.parent / "stages"
    strategy = lookup(EXPERIMENTS, config.experiment, "experiment")
    for path, choices in CHOICES.items():
        group, key = path.split(".")
        lookup(dict.fromkeys(choices), settings[group][key], path)
    _check_workdir(workdir, settings)
    data = dict(settings["data"])
    dataset = load(data.pop("name"), **data)
    studies = _studies(config, dataset, stages)
    again = _again(config)
    for study in studies:
        check(study, again.penalty)
    _begin(workdir, stages, settings)
    if config.keep_compiled:
        keep_compiled(stages.parent / "compiled")
    results = {
        "experiment": config.experiment,
        "data": dataset.name,
        "space": list(dataset.space),
        "seed": config.seed,
        "select_on": config.search.select_on,
        "metric": config.search.metric,
        "labels": len(dataset.labelled_sets[0]),
        "test_images": len(dataset.test),
        "classes": list(dataset.class_names),
        "patients": dataset.test_patients,
        "skipped": list(dataset.skipped),
        **strategy(config, studies),
        "stages": os.path.relpath(stages, workdir),
        "networks": [network for study in studies for network in study.record()],
    }
    if "best" in results:
        results["best"]["backbone"] = "backbone"
    best = mtassl.winner(studies[0], results) if "best" in results else None
    with claimed(workdir):
        if is_primary():
            _finish(workdir, studies, settings, results, best)
            print("\n" + "\n".join(report.summary_lines(results)))
            print(f"\nReport: {workdir / 'report' / 'index.html'}")
    barrier()


def _mtassl(config: ConfigDict, studies: list[Study]) -> dict[str, Any]:
    search = config.search
    return mtassl.search(
        studies[0], tasks=_pool(config), select_on=search.select_on, candidates=search.candidates
    )


def _pretrain(config: ConfigDict, studies: list[Study]) -> dict[str, Any]:
    return mtassl.single(studies[0], pool=tuple(_pool(config)))


def _pairs(config: ConfigDict, studies: list[Study]) -> dict[str, Any]:
    return pairs(studies[0], tasks=_pool(config))


def _table4(config: ConfigDict, studies: list[Study]) -> dict[str, Any]:
    return _self_assl(config, studies, [(name,) for name in _pool(config)])


def _self_assl(
    config: ConfigDict, studies: list[Study], pools: list[tuple[str, ...]] | None = None
) -> dict[str, Any]:
    return self_assl.compare(
        studies,
        pools=pools or [tuple(_pool(config))],
        again=_again(config),
        second_run=config.self_assl.second_run,
    )


EXPERIMENTS = {
    "mtassl": _mtassl,  # Algorithm 1, Tables 2 and 3
    "pairs": _pairs,  # Table 1
    "table4": _table4,  # every task with and without Self-ASSL
    "self_assl": _self_assl,  # one pool with and without Self-ASSL
    "pretrain": _pretrain,  # one pool
}


def _again(config: ConfigDict) -> SecondRun:
    settings = config.self_assl
    penalty = Penalty(**{f.name: settings[f.name] for f in dataclasses.fields(Penalty)})
    return SecondRun(penalty=penalty, init_from=settings.init_from, use=settings.use)


def _pool(config: ConfigDict) -> list[str]:
    names = [name.strip() for name in config.tasks.split(",") if name.strip()]
    require(bool(names), "tasks is empty; name at least one, as in tasks=src,rotation")
    require(len(set(names)) == len(names), f"tasks={config.tasks!r} names a task twice")
    for name in names:
        lookup(TASKS, name, "task")
    return names


def _studies(config: ConfigDict, dataset: Dataset, stages: Path) -> list[Study]:
    """One for each backbone; the images, and what is finished, are theirs in common."""
    tasks: dict[str, ProxyTask] = {
        name: make_task(name, **config.task[name].to_dict(), intensity=dataset.intensity)
        for name in _pool(config)
    }
    require(
        config.experiment != "pairs" or len(tasks) > 1,
        f"experiment=pairs needs at least two tasks, not tasks={config.tasks}",
    )
    target = config.target
    cross_validated = config.search.select_on == "cv" and config.experiment == "mtassl"
    require(
        not cross_validated or target.folds >= 2,
        f"target.folds={target.folds}: cross-validation needs at least 2; or set "
        "search.select_on=test",
    )
    first = config.backbone.to_dict()
    # A list, as JSON gives it back to `load_backbone`.
    first["delay"] = list(first["delay"] or suggest_delay(dataset.space))
    names = tuple(config.self_assl.backbones) or (first["name"],)
    require(len(set(names)) == len(names), f"self_assl.backbones={names} names one twice")
    several = len(names) > 1
    backbones = {name if several else "": {**first, "name": name} for name in names}
    networks = {prefix: make_backbone(**settings) for prefix, settings in backbones.items()}
    common: dict[str, Any] = dict(
        dataset=dataset,
        images=Feed(dataset.images, make_mesh(), config.images_on),
        tasks=tasks,
        pretraining=_training(config.pretrain),
        budget=config.pretrain.budget,
        target=TargetSettings(
            training=_training(target),
            seeds=target.seeds,
            folds=target.folds if cross_validated else 0,
            metric=config.search.metric,
            shift=target.shift,
            flip=target.flip,
        ),
        similarity=SimilaritySettings(**config.similarity.to_dict()),
        seed=config.seed,
        stages=StageCache(stages, assl_jax.__version__),
        eval_batch_size=config.eval_batch_size,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )
    return [
        Study(backbone=networks[prefix], backbone_settings=settings, prefix=prefix, **common)
        for prefix, settings in backbones.items()
    ]


def _training(group: ConfigDict) -> Training:
    optimiser = Optimiser(**{f.name: group[f.name] for f in dataclasses.fields(Optimiser)})
    sizes = {key: group[key] for key in ("steps", "batch_size", "accumulate")}
    return Training(**sizes, optimiser=optimiser)


def _check_workdir(workdir: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds another config's run."""
    old = read_json(workdir / "config.json")
    # By way of JSON tuples become lists, as in the file.
    old, new = _flat(old), _flat(json.loads(json.dumps(settings)))
    changed = [key for key in old | new if old.get(key) != new.get(key)]
    require(
        not old or not changed,
        f"{workdir} holds a run with another config (different: {', '.join(changed[:4])}); "
        "use another --workdir, or delete it",
    )


def _begin(workdir: Path, stages: Path, settings: dict[str, Any]) -> None:
    """Write what identifies the run, in the first process; nothing has been written before."""
    if not is_primary():
        return
    for flag, folder in (("stages", stages), ("workdir", workdir)):
        require(
            folder.is_dir() or not folder.exists(),
            f"--{flag}={folder} is not a folder; choose another",
        )
    flag, folder = "stages", stages
    try:
        stages.mkdir(parents=True, exist_ok=True)
        flag, folder = "workdir", workdir
        workdir.mkdir(parents=True, exist_ok=True)
        if not (workdir / "config.json").exists():
            write_json(workdir / "environment.json", environment())
            write_json(workdir / "config.json", settings)
    except PermissionError as error:
        raise InputError(f"--{flag}={folder} cannot be written to; choose another") from error
    except NotADirectoryError as error:
        raise InputError(f"--{flag}={folder} is not a folder; choose another") from error


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` to `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _shown(results: dict[str, Any]) -> str:
    """Labels of the few networks whose Grad-CAM the report shows."""
    if "self_assl" in results:
        first = results["self_assl"]["backbones"][0]
        rows = sorted(first["rows"], key=lambda row: -abs(row["difference"]["mean"]))[:2]
        pools, variants = [row["pool"] for row in rows], ["plain", "self_assl"]
    else:
        pools, variants = [results.get("best", {}).get("pool", [])], ["plain"]
    wanted = [sorted(pool) for pool in pools]
    backbone = results["networks"][0]["backbone"]
    return ",".join(
        network["label"]
        for network in results["networks"]
        if network["backbone"] == backbone
        and network["variant"] in ("scratch", *variants)
        and (not network["pool"] or sorted(network["pool"]) in wanted)
    )


def _finish(
    workdir: Path,
    studies: list[Study],
    settings: dict[str, Any],
    results: dict[str, Any],
    best: Stage | None,
) -> None:
    """Write the backbone, the report and the results; leave alone what is there and still holds."""
    known = read_json(workdir / "results.json") == results
    study = studies[0]
    if best and not (known and (workdir / "backbone" / META).exists()):
        export_backbone(
            workdir / "backbone",
            study.load(best),
            settings=dict(study.backbone_settings),
            intensity=study.dataset.intensity,
            pool=results["best"]["pool"],
        )
    if not known or not (workdir / "report" / "index.html").exists():
        sample = study.dataset.images[study.dataset.unlabeled[:4]]
        models = fine_tuned(workdir, results, _shown(results))
        finished = study.stages.finished
        report.write_report(
            workdir / "report",
            report.RunRecord(
                results=results,
                config=settings,
                environment=read_json(workdir / "environment.json"),
                # Labels as in this run: another one may have trained the stage.
                metrics=[
                    {**record, "label": stage.label}
                    for stage in finished
                    for record in MetricsLog(stage.folder).read()
                ],
                stages=[stage.record() for stage in finished],
                examples={name: task_examples(t, sample) for name, t in study.tasks.items()},
                attention=attend(models, *some_test_images(study.dataset, 4)),
            ),
        )
    if not known:
        write_json(workdir / "results.json", results)
