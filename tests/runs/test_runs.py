"""The whole program as a user runs it, on a tiny config: one finished run, and what follows."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from whole_runs import ENVIRONMENT, ROOT, TINY, read, run, snapshot, start

from assl_jax import records
from assl_jax.evaluation.scores import shares

pytestmark = pytest.mark.slow


def test_results_have_the_documented_layout(finished):
    workdir, out, _ = finished
    results = read(workdir)
    assert results.experiment == "mtassl" and results.data == "digits"
    assert results.seed == 0 and results.select_on == "cv" and results.reused == ()
    assert set(results.singles) == {"src", "rotation"}
    for found in (results.scratch, *results.singles.values(), results.best.evaluation):
        assert all(0 <= found.metrics[name].mean <= 1 for name in shares() if name in found.metrics)
        assert found.selection.mean > 1  # a log loss, near that of a guess
        for estimate in (*found.metrics.values(), found.selection):
            assert len(estimate.runs) == 2
            assert estimate.mean == pytest.approx(np.mean(estimate.runs))
            assert estimate.std == pytest.approx(np.std(estimate.runs, ddof=1))
    similarity = results.similarity
    matrix = np.asarray(similarity.matrix)
    assert similarity.tasks == ("src", "rotation") and similarity.n == 64
    assert matrix.shape == (2, 2) and np.allclose(np.diag(matrix), 1) and matrix[0, 1] < 1
    (first,) = results.search.rounds
    (candidate,) = first.candidates
    assert set(candidate.members) == {"src", "rotation"}
    assert candidate.similarity == pytest.approx(matrix[0, 1], abs=1e-5)
    accuracies = [results.singles[t].accuracy.mean for t in ("src", "rotation")]
    assert candidate.avg == pytest.approx(np.mean(accuracies))
    standings = results.search.standings
    (begun,) = first.start.members
    labels = {standing.network.label for standing in standings}
    assert labels >= {"scratch", "src", "rotation", f"{begun}.continued"}
    assert {move.network for move in first.moves} < {s.network for s in standings}
    assert results.best.network == standings[0].network
    assert sum(s.probability for s in standings) == pytest.approx(1, abs=0.001)
    assert str(workdir / "report" / "index.html") in out


def test_a_run_leaves_its_report_and_what_it_was(finished):
    workdir, _, _ = finished
    page = (workdir / "report" / "index.html").read_text()
    assert "Rotation" in page and "<script src" not in page
    assert "| Pretraining |" in (workdir / "report" / "tables.md").read_text()
    assert json.loads((workdir / "config.json").read_text())["pretrain"]["steps"] == 12
    environment = json.loads((workdir / "environment.json").read_text())
    assert {"jax", "python", "devices", "commit", "command"} <= set(environment)


def test_stages_lie_beside_the_workdir(finished):
    workdir, _, _ = finished
    results = read(workdir)
    stages = workdir / results.stages
    assert stages.resolve() == workdir.parent / "stages"
    networks = {network.label: network for network in results.networks}
    assert set(networks) >= {"scratch", "src", "rotation"}
    assert networks["scratch"].pretrain is None and networks["src"].network.tasks == ("src",)
    for label, network in networks.items():
        for stage in filter(None, (network.pretrain, network.finetune)):
            lines = (stages / stage / "metrics.jsonl").read_text().splitlines()
            assert {json.loads(line)["label"] for line in lines} == {label}
            assert list((stages / stage).glob("tensorboard/events*"))
    labels = json.loads((stages / networks["src"].pretrain / "labels.json").read_text())
    assert np.asarray(labels["src"]).shape == (24, 5, 2)


def test_tables_1_and_4_after_it_repeat_nothing(finished, tmp_path):
    """All share stages; then the page over the three runs, the probes and Grad-CAM."""
    shutil.copytree(finished[0].parent, tmp_path / "runs")
    stages = tmp_path / "runs" / "stages"

    def pretrained():
        return {p.name for p in stages.glob("pretrain-*")}

    before = pretrained()
    for experiment in ("pairs", "table4"):
        workdir = tmp_path / "runs" / experiment
        arguments = [f"--config=configs/{experiment}.py:digits", *TINY[1:]]
        status, out, err = run(*arguments, "--config.self_assl.weight=1", f"--workdir={workdir}")
        assert status == 0, err
        assert str(workdir / "report" / "index.html") in out
    # The singles were there; the pool from random weights and Self-ASSL were not.
    new = sorted(name.rsplit("-", 2)[0] for name in pretrained() - before)
    assert new == [
        *("pretrain-rotation+src", "pretrain-rotation.self_assl", "pretrain-src.self_assl"),
    ]

    table1, first = read(tmp_path / "runs" / "pairs"), read(finished[0])
    (pair,) = table1.pairs
    assert sorted(pair.members) == ["rotation", "src"] and table1.best is None
    (candidate,) = first.search.rounds[0].candidates
    assert pair.similarity == pytest.approx(candidate.similarity, abs=1e-5)
    (backbone,) = read(tmp_path / "runs" / "table4").self_assl.backbones
    assert [row.pool for row in backbone.rows] == [("src",), ("rotation",)]
    assert backbone.rows[0].plain.metrics == first.singles["src"].metrics
    tables = (tmp_path / "runs" / "table4" / "report" / "tables.md").read_text()
    assert "w. Self-ASSL" in tables
    page = (tmp_path / "runs" / "table4" / "report" / "index.html").read_text()
    assert "Where the network looks" in page and "Self-ASSL over training" in page

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "assl_jax", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    runs = [tmp_path / "runs" / name for name in ("work", "pairs", "table4")]
    command("report", *runs, f"--out={tmp_path / 'compare'}")
    assert "Self-ASSL" in (tmp_path / "compare" / "index.html").read_text()
    told = command("probe", f"--workdir={runs[2]}")
    assert "Rotation, Self-ASSL" in told or "rotation.self_assl" in told
    command("gradcam", f"--workdir={runs[2]}", "--n=2", "--networks=src,src.self_assl")
    assert (runs[2] / "gradcam" / "index.html").stat().st_size > 2000


def test_the_same_command_again_changes_nothing(finished):
    workdir, out, _ = finished
    before = snapshot(workdir.parent)
    status, again, err = run(*TINY, f"--workdir={workdir}")
    assert status == 0, err
    assert again == out
    assert snapshot(workdir.parent) == before


def test_results_of_other_images_are_replaced_on_request_only(finished, tmp_path):
    shutil.copytree(finished[0].parent, tmp_path / "runs")
    workdir = tmp_path / "runs" / "work"
    of_other_images = read(workdir).replace(data_digest="other")
    records.write(workdir / "results.json", of_other_images)
    status, out, err = run(*TINY, f"--workdir={workdir}")
    assert status == 2 and out == "" and "Plan" not in err
    assert f"images or labels have changed since {workdir} was finished; --again" in err
    assert read(workdir) == of_other_images
    status, _, err = run(*TINY, f"--workdir={workdir}", "--again")
    assert status == 0 and "is replaced: the data" in err
    assert read(workdir) == read(finished[0])


def test_the_backbone_loads_and_tells_images_apart(finished):
    import assl_jax
    from assl_jax.data import load

    workdir, _, _ = finished
    module, variables = assl_jax.load_backbone(workdir)
    images = load("digits", side=16).images[:4]
    inputs = assl_jax.load_intensity(workdir)(images)
    pooled = np.asarray(module.apply(variables, inputs)["pooled"])
    assert pooled.shape == (4, 16) and np.isfinite(pooled).all()
    assert np.ptp(pooled, axis=0).max() > 0


def test_deleting_one_stage_recomputes_exactly_that(finished, tmp_path):
    workdir, _, _ = finished
    shutil.copytree(workdir.parent, tmp_path / "runs")
    copy = tmp_path / "runs" / "work"
    (victim,) = copy.parent.glob("stages/finetune-src-*")
    shutil.rmtree(victim)
    before = snapshot(copy.parent)
    status, _, err = run(*TINY, f"--workdir={copy}")
    assert status == 0, err
    after = snapshot(copy.parent)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed and all(name.startswith(f"stages/{victim.name}") for name in changed)
    assert (copy / "results.json").read_bytes() == (workdir / "results.json").read_bytes()


def test_two_processes_share_a_search_and_one_may_die(finished, tmp_path):
    """Stages are done once; the second process is killed, and what it had begun is taken over."""
    workdir, _, seconds = finished
    arguments = [*TINY, f"--workdir={tmp_path / 'work'}"]
    first, second = start(*arguments), start(*arguments)
    wait = random.Random(random.randrange(10**6)).uniform(0.3, 0.8) * seconds
    time.sleep(wait)
    second.kill()
    second.communicate()
    _, err = first.communicate(timeout=600)
    assert first.returncode == 0, (wait, err)
    assert (tmp_path / "work" / "results.json").read_bytes() == (
        workdir / "results.json"
    ).read_bytes()
    stages = {p.name for p in (workdir.parent / "stages").iterdir()}
    assert {p.name for p in (tmp_path / "stages").iterdir()} == stages
    twice = 0
    for log in tmp_path.glob("stages/*/metrics.jsonl"):
        places = [
            (r.get("run"), r["task"], r["step"])
            for r in map(json.loads, log.read_text().splitlines())
        ]
        twice += len(places) > len(set(places))
    assert twice <= 1  # the stage that the killed process was at
