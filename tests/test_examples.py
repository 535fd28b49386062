"""Every file in `examples/`, run; the documents show the same text."""

import importlib
import re
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.models import BACKBONES
from assl_jax.report.names import pool_title
from assl_jax.tasks import TASKS, ProxyTask, describe, make_task

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))


@pytest.mark.parametrize(
    "page, name", [("task", "mirror"), ("backbone", "densenet"), ("data_source", "arrays")]
)
def test_a_document_shows_the_file(page, name):
    text = (ROOT / "docs" / f"adding_a_{page}.md").read_text()
    block = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert block == (ROOT / "examples" / f"{name}.py").read_text()


@pytest.mark.slow
def test_a_plain_loop_with_the_penalty():
    found = importlib.import_module("own_loop").main()
    assert found["with the penalty"] < 0.5 * found["without the penalty"]


def test_a_plain_loop_needs_the_pure_modules_only():
    text = (ROOT / "examples" / "own_loop.py").read_text()
    used = set(re.findall(r"^from (assl_jax\S*)", text, re.MULTILINE))
    assert used == {"assl_jax.lcka", "assl_jax.losses"}


@pytest.mark.slow
def test_layers_of_two_networks():
    found = importlib.import_module("compare_layers").main()
    assert found.shape == (5, 5) and np.isfinite(found).all()
    assert found.min() >= 0 and found.max() < 1  # random weights: similar, not equal


@pytest.mark.slow
@pytest.mark.parametrize("space", [(16, 16), (8, 8, 8)])
def test_the_task_trains_on_images_and_volumes(monkeypatch, toy, space):
    monkeypatch.setitem(TASKS, "mirror", importlib.import_module("mirror").Mirror)  # its entry
    task = make_task("mirror", probability=0.25)
    assert isinstance(task, ProxyTask) and task.label_table(2) is None
    assert describe("mirror")[:2] == ("Mirror", "Mirror") and describe("mirror").summary
    assert pool_title(("mirror", "src")) == "Mirror + SRC"  # in every report
    assert describe("mirror").colour not in [t.colour for n, t in TASKS.items() if n != "mirror"]
    with pytest.raises(InputError, match="task.mirror.probability=1.5 must be above 0 and below 1"):
        make_task("mirror", probability=1.5)
    images = np.random.default_rng(0).integers(0, 256, (40, *space, 1), dtype=np.uint8)
    assert int(toy.fit(task, images=images, steps=1).step) == 1


@pytest.mark.slow
def test_a_run_with_a_task_a_source_and_a_backbone_of_the_user(tmp_path, monkeypatch):
    from assl_jax import records
    from assl_jax.__main__ import main
    from assl_jax.data import load

    digits = load("digits", side=16, labels=0)
    np.save(tmp_path / "images.npy", digits.images[:200])
    np.save(tmp_path / "labels.npy", digits.labels[:200])
    monkeypatch.chdir(tmp_path)
    settings = {
        "data.path": ".",
        "tasks": "mirror:Mirror",
        "task.mirror.probability": 0.25,
        "backbone.name": "densenet:DenseNet",
        "backbone.width": 1 / 16,
        "pretrain.steps": 2,
        "pretrain.batch_size": 8,
        "target.steps": 2,
        "target.batch_size": 8,
        "target.seeds": 1,
        "similarity.n": 32,
        "keep_compiled": False,
    }
    arguments = [f"--config.{k}={v}" for k, v in settings.items()]
    with mock.patch.dict(TASKS), mock.patch.dict(BACKBONES):  # what is registered leaves again
        main(["run", "pretrain:arrays:Arrays", *arguments])
    workdir = tmp_path / "runs" / "pretrain_arrays_Arrays"
    results = records.read(workdir / "results.json", records.Results)
    assert results.best.network.members == ("mirror",) and results.data == "arrays"
    assert "Mirror" in (workdir / "report" / "index.html").read_text()
    sys.modules.pop("mirror")
