"""What a run leaves in its folder: the kept backbone, the report, the results."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from assl_jax import records, report
from assl_jax.console import say
from assl_jax.errors import InputError, Unusable
from assl_jax.evaluation.embedding import MAPPED, Embedding, embed
from assl_jax.evaluation.export import (
    export_backbone,
    load_backbone,
    load_model,
    load_models,
)
from assl_jax.evaluation.gradcam import attend, example_test_images
from assl_jax.records import SCRATCH, Network, Results
from assl_jax.report.examples import task_examples
from assl_jax.report.names import Label, titles
from assl_jax.seeds import derived
from assl_jax.strategies import pretraining
from assl_jax.strategies.evidence import Evidence
from assl_jax.training.feed import Feed
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.sharding import make_mesh, replicate

EXAMPLES = 4  # images that the report shows for each task, and with Grad-CAM


def finish(workdir: Path, evidences: Sequence[Evidence], results: Results) -> None:
    """Write the backbone, the report and the results; do not rewrite files that are still valid.

    Only the primary process is here.
    """
    path, evidence = workdir / records.RESULTS, evidences[0]
    old = finished(path)
    known = old == results
    if old and not known:
        counts = [f"{r.labels} labels, {r.test_images} test images" for r in (old, results)]
        say(f"{path} is replaced: the data or the program has changed ({', now '.join(counts)})")
    kept = results.best.network if results.best else results.pretrained
    _write_backbone(workdir / records.BACKBONE_FOLDER, evidence, kept, known)
    if not known or not (workdir / "report" / "index.html").exists():
        _write_report(workdir, evidences, results)
    if not known:
        records.write(path, results)


def finished(path: Path) -> Results | None:
    """The results of an earlier run; None without them, or if they are damaged."""
    try:
        return records.read(path, Results) if path.exists() else None
    except Unusable:
        say(f"{path} is damaged, or of another version; it is written anew")
        return None


def _write_backbone(folder: Path, evidence: Evidence, kept: Network | None, known: bool) -> None:
    study = evidence.study
    if not kept or kept == SCRATCH:
        if folder.exists():  # of earlier data, for which another network was kept
            shutil.rmtree(folder)
        return
    if known and _loads(folder.parent):
        return
    if known:
        say(f"{folder} is damaged or missing; it is written anew")
    if kept.objective == "student":
        variables = load_model(evidence.finetuned(kept).folder).variables
    else:
        variables = pretraining.load(study, evidence.stages.get(pretraining.spec(study, kept)))
    export_backbone(
        folder,
        variables,
        settings=dict(study.backbone_settings),
        intensity=study.dataset.intensity,
        pool=kept.members,
    )


def _loads(workdir: Path) -> bool:
    """Whether the exported backbone is there and undamaged."""
    try:
        load_backbone(workdir)
    except InputError:
        return False
    return True


def _write_report(workdir: Path, evidences: Sequence[Evidence], results: Results) -> None:
    evidence, study = evidences[0], evidences[0].study
    sample = study.dataset.images[study.dataset.unlabeled[:EXAMPLES]]
    studies = {each.study.name: each.study for each in evidences}
    # With the labels of this run: another run may have computed the stage.
    stages = [
        (stage, studies[stage.spec.backbone].label(stage.spec.network))
        for stage in evidence.stages.finished.values()
    ]
    labels = {
        label: Label.of(stage.spec.network, studies[stage.spec.backbone].prefix)
        for stage, label in stages
    }
    named = titles(results)
    models = {
        named[label]: model
        for label, model in load_models(workdir, results, _explained(results)).items()
    }
    kept = results.best.network if results.best else None
    report.write_report(
        workdir / "report",
        report.RunRecord(
            results=results,
            config=records.read_settings(workdir / records.CONFIG),
            environment=records.read_settings(workdir / records.ENVIRONMENT),
            metrics=[
                line.replace(label=label)
                for stage, label in stages
                for line in MetricsLog(stage.folder).read()
            ],
            stages=[stage.record.replace(label=label) for stage, label in stages],
            examples={name: task_examples(t, sample) for name, t in study.tasks.items()},
            labels=labels,
            attention=attend(models, *example_test_images(study.dataset, EXAMPLES))
            if models
            else None,
            embedding=_embedding(evidence, kept) if kept and kept != SCRATCH else None,
        ),
    )


def _embedding(evidence: Evidence, kept: Network) -> Embedding | None:
    """Test images as the kept network sees them."""
    study = evidence.study
    if not study.dataset.class_names:
        return None
    rows = study.plain_images.rows["held_out"]
    features = (
        evidence.features(kept, "held_out")
        if kept.has_weights
        else _finetuned_features(evidence, kept)
    )
    return embed(features, rows, study.dataset, seed=derived(study.seed, "map"))


def _finetuned_features(evidence: Evidence, kept: Network) -> np.ndarray:
    """Features of a network that has no weights but those of its fine-tuning, as a student.

    On one device of this process, because the others are not here.
    """
    study, model = evidence.study, load_model(evidence.finetuned(kept).folder)
    mesh = make_mesh(jax.local_devices()[:1])
    plain = dataclasses.replace(
        study.plain_images,
        backbone=model.backbone,
        images=Feed(study.dataset.images, mesh, "host"),
    )
    return plain.features(replicate(model.variables, mesh), "held_out", most=MAPPED)


def _explained(results: Results) -> list[str]:
    """Labels of the few networks that the report explains with Grad-CAM.

    Of a search with rounds: from scratch, the kept one, and what it began with or learned from.
    """
    kept = results.best.network if results.best else SCRATCH
    if results.search:
        shown = {SCRATCH, kept, *kept.parents[:1]}
        return [each.label for each in results.networks if each.network in shown]
    members, objectives = [set[str](), {*kept.members}], {"", "alternate", "joint", "distil"}
    if results.self_assl:
        objectives |= {"self_assl", "side_by_side"}
        rows = results.self_assl.backbones[0].rows
        largest = sorted(rows, key=lambda row: -abs(row.difference.mean))[:2]
        members += [{*row.pool} for row in largest]
    return [
        each.label
        for each in results.networks
        if each.backbone == results.networks[0].backbone
        and each.network.objective in objectives
        and {*each.network.members} in members
    ]
