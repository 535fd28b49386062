"""Other runs of the whole program, each from its beginning."""

import numpy as np
import pytest
from whole_runs import TINY, read, run

from assl_jax.commands.write_phantom import write_phantom
from assl_jax.evaluation.scores import METRICS

pytestmark = pytest.mark.slow


def test_pretrain_runs_a_single_pool(tmp_path):
    overrides = [a for a in TINY[1:] if "tasks" not in a]
    status, _, err = run(
        "--config=configs/pretrain.py",
        *overrides,
        "--config.tasks=mcpc",
        f"--workdir={tmp_path / 'one'}",
    )
    assert status == 0, err
    results = read(tmp_path / "one")
    assert results.best.network.tasks == ("mcpc",) and results.best.evaluation.selection is None
    assert "MCPC" in (tmp_path / "one" / "report" / "index.html").read_text()


def test_a_folder_of_nifti_volumes(tmp_path):
    """Written, searched with two 3D tasks from the host, reported with its metrics."""
    heads = {"volumes": 40, "shape": (8, 12, 12), "labels": 16, "test": 12}
    write_phantom(tmp_path / "heads", **heads)
    status, out, err = run(
        "--config=configs/mtassl_volumes.py",
        f"--config.data.path={tmp_path / 'heads'}",
        "--config.data.window=(-20,100)",
        f"--config.data.cache={tmp_path / 'cache'}",
        "--config.tasks=rotation,sc_assl",
        "--config.task.sc_assl.crop_fraction=1.0",
        "--config.images_on=host",
        "--config.backbone.name=tinynet:TinyNet",
        "--config.backbone.width=1",
        "--config.pretrain.steps=4",
        "--config.pretrain.batch_size=8",
        "--config.target.steps=2",
        "--config.target.batch_size=8",
        "--config.target.seeds=2",
        "--config.target.folds=2",
        "--config.similarity.n=16",
        f"--workdir={tmp_path / 'work'}",
    )
    assert status == 0, err
    results = read(tmp_path / "work")
    assert results.patients == 12 and results.metric == "balanced_accuracy"
    assert set(results.scratch.metrics) == set(METRICS)
    assert np.sum(results.best.evaluation.confusion) == pytest.approx(12)
    assert "Balanced accuracy" in out
    assert "axial" in (tmp_path / "work" / "report" / "index.html").read_text()
    predictions = list(tmp_path.glob("stages/finetune-scratch-*/predictions/test*.npy"))
    assert len(predictions) == 2
    np.testing.assert_allclose(np.load(predictions[0]).sum(1), np.ones(12), rtol=1e-5)
