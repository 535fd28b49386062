"""`distil.teachers`: how it is read, its mistakes, and a run with it."""

import jax
import jax.numpy as jnp
import pytest
from whole_runs import small

from assl_jax import records
from assl_jax.config_reading import typed
from assl_jax.evaluation.export import export_backbone
from assl_jax.experiment import dry_run, run
from assl_jax.interop.start import teacher_paths
from assl_jax.interop.tensors import encode_tensors
from assl_jax.interop.weights import to_own
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.records import Results
from assl_jax.training.sharding import make_mesh


def test_a_teacher_is_called_as_the_user_or_its_file_says(tmp_path):
    file, folder = tmp_path / "resnet18-5c.safetensors", tmp_path / "lr=0.1"
    file.touch(), folder.mkdir()
    setting = f" {file}, imagenet={file},{folder},b={folder} ,"
    assert teacher_paths(setting, ()) == {
        "resnet18_5c": file,
        "imagenet": file,
        "lr_0_1": folder,
        "b": folder,
    }
    assert teacher_paths("", ()) == {}
    config = small()
    config.distil.teachers = f"imagenet={file}"
    assert typed(config).members == ("rotation", "src", "imagenet")
    assert typed(config).teachers == {"imagenet": file}


@pytest.mark.slow
def test_a_run_with_teachers_from_a_file_and_from_a_run(drawn, tmp_path, capsys, monkeypatch):
    one = make_mesh(jax.devices()[:1])
    monkeypatch.setattr("assl_jax.studies.make_mesh", lambda: one)  # compiles faster than for 8
    config = small()
    config.tasks = "rotation"
    settings = config.backbone.to_dict()
    module = make_backbone(**settings | {"delay": ()})
    variables = drawn(module.init, jnp.zeros((1, 16, 16, 1)))
    runs, file = tmp_path / "runs", tmp_path / "imagenet.safetensors"
    file.write_bytes(encode_tensors(to_own(variables), {}))
    export_backbone(
        tmp_path / "old" / "backbone",
        variables,
        settings=settings,
        intensity=Intensity(low=0.0, high=16.0),
        pool=("src",),
    )
    config.distil.teachers = f"{file},{tmp_path / 'old'}"
    config.experiment = "pretrain"
    dry_run(typed(config), runs / "pool")
    plan = capsys.readouterr().err
    assert "pretrain rotation " in plan and "pretrain rotation + imagenet + old" in plan
    assert "pretrain imagenet " not in plan and not runs.exists()

    config.experiment, config.distil.teachers = "mtassl", str(file)
    run(typed(config), runs / "search")
    results = records.read(runs / "search" / "results.json", Results)
    assert list(results.singles) == ["rotation", "imagenet"]
    assert results.similarity.matrix[0][1] < 0.999
    (extension,) = results.search.rounds[0].candidates
    assert {*extension.members} == {"rotation", "imagenet"} and extension.evaluation
    page = (runs / "search" / "report" / "index.html").read_text()
    assert "imagenet" in page and "teacher" in page
    stages = {path.name.rsplit("-", 2)[0] for path in (runs / "stages").iterdir()}
    assert {"given-imagenet", "pretrain-rotation", "pretrain-rotation+imagenet"} <= stages
    assert "pretrain-imagenet" not in stages
