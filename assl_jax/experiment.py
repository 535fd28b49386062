"""From a config to a finished run; the only module that knows `ConfigDict`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import assl_jax
from assl_jax import report
from assl_jax.data import Dataset, load, source_settings
from assl_jax.environment import environment
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.export import META, export_backbone
from assl_jax.models import make_backbone, suggest_delay
from assl_jax.report.examples import task_examples
from assl_jax.strategies import mtassl
from assl_jax.strategies.stages import StageCache, read_json, write_json
from assl_jax.strategies.study import METRICS, SimilaritySettings, Study, TargetSettings
from assl_jax.tasks import TASKS, ProxyTask, make_task
from assl_jax.training.loop import Training
from assl_jax.training.metrics import MetricsLog
from assl_jax.training.optimiser import Optimiser
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
    training = {"steps": 1000, "batch_size": 128}
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
            },
            "pretrain": {**training, **optimiser, "budget": "total"},
            "target": {**training, **optimiser, "learning_rate": 1e-4, **target},
            "similarity": _defaults(SimilaritySettings),
            "search": {"select_on": "cv", "metric": "accuracy", "candidates": "argmin"},
            "task": {name: _defaults(kind) for name, kind in TASKS.items()},
            "images_on": "auto",
            "eval_batch_size": 256,
            "checkpoint_every": 1000,
            "log_every": 50,
        }
    )


def _defaults(kind: type) -> dict[str, Any]:
    """A dataclass's settings; the intensity is the data's to say."""
    fields = dataclasses.fields(kind)
    return {f.name: f.default for f in fields if f.name != "intensity"}


def run(config: ConfigDict, workdir: Path) -> None:
    """Run the experiment that `config` describes, or go on with it, in `workdir`.

    Finished stages are read, not repeated; where everything is finished nothing is written.

    Raises:
      InputError: anything in the config or the data that the user can mend.
      Interrupted: a stop was asked for.
    """
    settings = config.to_dict()
    strategy = lookup({"mtassl": _mtassl, "pretrain": _pretrain}, config.experiment, "experiment")
    for path, choices in CHOICES.items():
        group, key = path.split(".")
        lookup(dict.fromkeys(choices), settings[group][key], path)
    _check_workdir(workdir, settings)
    data = dict(settings["data"])
    dataset = load(data.pop("name"), **data)
    study = _study(config, dataset, workdir)
    study.check()
    _begin(workdir, settings)
    results = {
        "experiment": config.experiment,
        "data": dataset.name,
        "seed": config.seed,
        "select_on": config.search.select_on,
        "metric": config.search.metric,
        "labels": len(dataset.labelled_sets[0]),
        "test_images": len(dataset.test),
        "classes": list(dataset.class_names),
        "patients": dataset.test_patients,
        "skipped": list(dataset.skipped),
        **strategy(config, study),
    }
    results["best"]["backbone"] = "backbone"
    _finish(workdir, study, settings, results)
    study.log.close()
    print("\n" + "\n".join(report.summary_lines(results)))
    print(f"\nReport: {workdir / 'report' / 'index.html'}")


def _mtassl(config: ConfigDict, study: Study) -> dict[str, Any]:
    search = config.search
    return mtassl.search(
        study, tasks=_pool(config), select_on=search.select_on, candidates=search.candidates
    )


def _pretrain(config: ConfigDict, study: Study) -> dict[str, Any]:
    return mtassl.single(study, pool=tuple(_pool(config)))


def _pool(config: ConfigDict) -> list[str]:
    names = [name.strip() for name in config.tasks.split(",") if name.strip()]
    require(bool(names), "tasks is empty; name at least one, as in tasks=src,rotation")
    require(len(set(names)) == len(names), f"tasks={config.tasks!r} names a task twice")
    for name in names:
        lookup(TASKS, name, "task")
    return names


def _study(config: ConfigDict, dataset: Dataset, workdir: Path) -> Study:
    tasks: dict[str, ProxyTask] = {
        name: make_task(name, **config.task[name].to_dict(), intensity=dataset.intensity)
        for name in _pool(config)
    }
    target = config.target
    cross_validated = config.search.select_on == "cv" and config.experiment == "mtassl"
    require(
        not cross_validated or target.folds >= 2,
        f"target.folds={target.folds}: cross-validation needs at least 2; or set "
        "search.select_on=test",
    )
    backbone = config.backbone.to_dict()
    # A list, as JSON gives it back to `load_backbone`.
    backbone["delay"] = list(backbone["delay"] or suggest_delay(dataset.space))
    return Study(
        dataset=dataset,
        backbone=make_backbone(**backbone),
        backbone_settings=backbone,
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
        stages=StageCache(workdir / "stages", assl_jax.__version__),
        log=MetricsLog(workdir),
        mesh=make_mesh(),
        images_on=config.images_on,
        eval_batch_size=config.eval_batch_size,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )


def _training(group: ConfigDict) -> Training:
    optimiser = Optimiser(**{f.name: group[f.name] for f in dataclasses.fields(Optimiser)})
    return Training(steps=group.steps, batch_size=group.batch_size, optimiser=optimiser)


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


def _begin(workdir: Path, settings: dict[str, Any]) -> None:
    """Write what identifies the run; nothing has been written before."""
    if (workdir / "config.json").exists():
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / "environment.json", environment())
        write_json(workdir / "config.json", settings)
    except PermissionError as error:
        raise InputError(f"--workdir={workdir} cannot be written to; choose another") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"--workdir={workdir} is not a folder; choose another") from error


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` to `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _finish(workdir: Path, study: Study, settings: dict[str, Any], results: dict[str, Any]) -> None:
    """Write the backbone, the report and the results; leave alone what is there and still holds."""
    known = read_json(workdir / "results.json") == results
    if not known or not (workdir / "backbone" / META).exists():
        stage = mtassl.winner(study, results)
        export_backbone(
            workdir / "backbone",
            study.load(stage.folder / "backbone"),
            settings=dict(study.backbone_settings),
            intensity=study.dataset.intensity,
            pool=results["best"]["pool"],
        )
    if not known or not (workdir / "report" / "index.html").exists():
        sample = study.dataset.images[study.dataset.unlabeled[:4]]
        report.write_report(
            workdir / "report",
            report.RunRecord(
                results=results,
                config=settings,
                environment=read_json(workdir / "environment.json"),
                metrics=study.log.read(),
                stages=[stage.record() for stage in study.stages.finished],
                examples={name: task_examples(t, sample) for name, t in study.tasks.items()},
            ),
        )
    if not known:
        write_json(workdir / "results.json", results)
