"""The program and its commands with the networks of `examples/` that have no BatchNorm."""

import sys
from pathlib import Path

import numpy as np
import pytest
from whole_runs import SMALL, read

from assl_jax.__main__ import main
from assl_jax.evaluation.export import load_backbone

pytestmark = pytest.mark.slow

# A search on images, and Self-ASSL with two networks side by side on volumes.
IMAGES = {"backbone.name": "smallnets:CONVNEXT", "backbone.width": 1 / 16}
VOLUMES = {
    "backbone.name": "smallnets:VIT",
    "backbone.width": 1 / 16,
    "experiment": "self_assl",
    "tasks": "rotation,rubiks_cube",
    "data.volumes": 60,
    "data.test": 12,
    "data.labels": 16,
    "pretrain.mixing": "alternate",
    "self_assl.use": "both",
}
RUNS = {
    "images": ("mtassl_digits", SMALL | IMAGES, "src"),
    "volumes": (
        "mtassl_phantom3d",
        {k: v for k, v in SMALL.items() if k != "data.side"} | VOLUMES,
        "rotation+rubiks_cube.self_assl",
    ),
}


@pytest.fixture(scope="module", params=RUNS)
def finished(request, tmp_path_factory):
    """A finished run: its folder, and one of its networks."""
    config, settings, label = RUNS[request.param]
    workdir = tmp_path_factory.mktemp(request.param) / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
        main(["run", config, f"--workdir={workdir}", *options(settings)])
        yield workdir, label
    for name in ("smallnets", "convnext", "vit"):
        sys.modules.pop(name, None)


def options(settings):
    return [f"--config.{key}={value}" for key, value in settings.items()]


def test_the_run_and_what_it_keeps(finished, capsys):
    workdir, label = finished
    assert label in {network.label for network in read(workdir).networks}
    if (workdir / "backbone").exists():
        backbone, variables = load_backbone(workdir)
        x = np.zeros((1, 16, 16, 1), np.float32)
        assert np.isfinite(backbone.apply(variables, x)["pooled"]).all()
    main(["gradcam", f"--workdir={workdir}", "--n=2", f"--networks={label}"])
    assert (workdir / "gradcam" / "index.html").stat().st_size > 2000
    main(["probe", f"--workdir={workdir}"])
    assert "untrained" in capsys.readouterr().out


@pytest.mark.parametrize(
    "format, says", [("safetensors", ""), ("torchvision", "no counterpart"), ("onnx", "onnx")]
)
def test_an_export_or_one_line(finished, tmp_path, capsys, format, says):
    if format == "onnx":
        pytest.importorskip("onnx")
    workdir, label = finished
    command = ["export", str(workdir), f"--format={format}", f"--network={label}"]
    command.append(f"--out={tmp_path}")
    if not says:
        main(command)
        assert len(list(tmp_path.iterdir())) == 3
        return
    with pytest.raises(SystemExit):
        main(command)
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())
