"""`finetune`: a finished run's backbone on other labels."""

import numpy as np
import pytest
from finished_runs import network
from networks import network_of
from safetensors.numpy import save_file

from assl_jax import records
from assl_jax.__main__ import main
from assl_jax.files import write_json
from assl_jax.interop.start import describe_start
from assl_jax.interop.tensors import encode_tensors
from assl_jax.records import (
    SCRATCH,
    Best,
    Evaluation,
    Network,
    NetworkRecord,
    Pretrained,
    Results,
    StageRecord,
    StartWeights,
)

NOTHING = Evaluation(metrics={}, confusion=())
NETWORK = network("rotation", pretrain="pretrain-rotation-1-2", backbone="resnet18")


@pytest.fixture
def workdir(tmp_path, write_run):
    """A finished run; its weights are not read here."""
    best = Best(network=NETWORK.network, evaluation=NOTHING)
    write_run(tmp_path / "run", {"name": "digits"}, [NETWORK], best=best)
    return tmp_path / "run"


@pytest.fixture
def started(monkeypatch):
    """What would have been run: the config and the workdir."""
    calls = []
    monkeypatch.setattr(
        "assl_jax.experiment.run", lambda config, workdir, *_, **__: calls.append((config, workdir))
    )
    return calls


def changed(workdir, **fields):
    """The results of the run, which are written with other fields."""
    results = records.read(workdir / "results.json", Results).replace(**fields)
    records.write(workdir / "results.json", results)


def test_the_settings_of_the_run_with_changes(workdir, started):
    main(["finetune", str(workdir), "--config.data.labels=50", "--config.target.steps=9"])
    ((config, folder),) = started
    assert folder == workdir.with_name("run_finetune")
    assert config.experiment == "finetune"
    assert (config.data.source.labels, config.target.training.steps) == (50, 9)
    assert config.init.path == str(workdir)


def test_the_teachers_of_the_run_are_not_needed(workdir, started):
    config = records.read_settings(workdir / "config.json")
    config["distil"]["teachers"] = "imagenet=moved.safetensors"
    write_json(workdir / "config.json", config)
    main(["finetune", str(workdir)])
    assert started[0][0].distil.teachers == ""


def test_of_a_kept_student_its_first_teacher_is_fine_tuned(workdir, started, tmp_path, capsys):
    """The student has learned labels, perhaps of images that test the new run."""
    student = Network(objective="student", teachers=(NETWORK.network,))
    record = NetworkRecord(label=student.label, network=student, backbone="resnet18", finetune="f")
    best = Best(network=student, evaluation=NOTHING)
    changed(workdir, best=best, networks=(NETWORK, record))
    main(["finetune", str(workdir)])
    assert started[0][0].init.path == str(tmp_path / "stages" / "pretrain-rotation-1-2")
    said = capsys.readouterr().err
    assert "rotation.student has learned the labels of its run; rotation is fine-tuned" in said
    main(["finetune", str(workdir), "--network=rotation"])
    assert not capsys.readouterr().err


def test_another_network_and_workdir(workdir, started, tmp_path):
    main(["finetune", str(workdir), "--network=rotation", f"--workdir={tmp_path / 'new'}"])
    ((config, folder),) = started
    assert folder == tmp_path / "new"
    assert config.init.path == str(tmp_path / "stages" / "pretrain-rotation-1-2")
    assert config.backbone.name == "resnet18"


def test_the_backbone_of_a_pretraining_without_labels(workdir, started):
    changed(workdir, best=None, networks=(), pretrained=NETWORK.network)
    main(["finetune", str(workdir)])
    assert started[0][0].init.path == str(workdir)
    changed(workdir, networks=(NETWORK,), pretrained=None)
    with pytest.raises(SystemExit):
        main(["finetune", str(workdir)])
    assert len(started) == 1


def test_a_run_that_kept_the_network_from_scratch_has_no_backbone(workdir, started, capsys):
    changed(workdir, best=Best(network=SCRATCH, evaluation=NOTHING))
    with pytest.raises(SystemExit):
        main(["finetune", str(workdir)])
    assert f"{workdir} keeps no pretrained backbone; choose one with --network: rotation" in (
        capsys.readouterr().err
    )
    main(["finetune", str(workdir), "--network=rotation"])
    assert len(started) == 1


def test_the_start_weights_say_what_they_are(workdir, tmp_path):
    stage = tmp_path / "stages" / "pretrain-rotation-1-2"
    stage.mkdir(parents=True)
    done = StageRecord(
        kind="pretrain",
        network=NETWORK.network,
        label="rotation",
        settings={},
        code="",
        commit="",
        result=Pretrained(flops=2e12),
        seconds=1.0,
    )
    records.write(stage / "done.json", done)
    found = describe_start(stage)
    assert found == StartWeights(source="pretrain-rotation-1-2", title="Rotation", flops=2e12)
    changed(workdir, networks=(NETWORK.replace(flops=3e12),))
    assert describe_start(workdir) == StartWeights(source="run", title="Rotation", flops=3e12)
    changed(workdir, best=None, networks=(), pretrained=network_of("mcpc+rotation"))
    assert describe_start(workdir) == StartWeights(source="run", title="MCPC + Rotation")
    arrays = {"weight": np.zeros(2, np.float32)}
    (tmp_path / "own.safetensors").write_bytes(encode_tensors(arrays, {"network": "SRC"}))
    assert describe_start(tmp_path / "own.safetensors").title == "SRC"
    save_file(arrays, tmp_path / "other.safetensors")
    found = describe_start(tmp_path / "other.safetensors")
    assert found == StartWeights(source="other.safetensors")
