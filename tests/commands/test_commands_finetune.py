"""`finetune`: a finished run's backbone on other labels."""

import pytest

from assl_jax import records
from assl_jax.__main__ import main
from assl_jax.files import write_json
from assl_jax.records import Best, Evaluation, NetworkRecord, Results

NETWORK = NetworkRecord(
    label="rotation",
    pool=("rotation",),
    variant="plain",
    backbone="resnet18",
    pretrain="pretrain-rotation-1-2",
    finetune="finetune-rotation-1-2",
)


@pytest.fixture
def workdir(tmp_path, write_run):
    """A finished run; its weights are not read here."""
    best = Best(pool=("rotation",), evaluation=Evaluation(metrics={}, confusion=()))
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


def test_the_settings_of_the_run_with_changes(workdir, started):
    main(["finetune", str(workdir), "--config.data.labels=50", "--config.target.steps=9"])
    ((config, folder),) = started
    assert folder == workdir.with_name("run_finetune")
    assert config.experiment == "finetune"
    assert (config.data.labels, config.target.steps) == (50, 9)
    assert config.init.path == str(workdir)


def test_the_teachers_of_the_run_are_not_needed(workdir, started):
    config = records.read_settings(workdir / "config.json")
    config["distil"]["teachers"] = "imagenet=moved.safetensors"
    write_json(workdir / "config.json", config)
    main(["finetune", str(workdir)])
    assert started[0][0].distil.teachers == ""


def test_another_network_and_workdir(workdir, started, tmp_path):
    main(["finetune", str(workdir), "--network=rotation", f"--workdir={tmp_path / 'new'}"])
    ((config, folder),) = started
    assert folder == tmp_path / "new"
    assert config.init.path == str(tmp_path / "stages" / "pretrain-rotation-1-2")
    assert config.backbone.name == "resnet18"


def test_the_backbone_of_a_pretraining_without_labels(workdir, started):
    results = records.read(workdir / "results.json", Results)
    alone = results.replace(best=None, networks=(), pretrained=("rotation",))
    records.write(workdir / "results.json", alone)
    main(["finetune", str(workdir)])
    assert started[0][0].init.path == str(workdir)
    records.write(workdir / "results.json", results.replace(best=None))
    with pytest.raises(SystemExit):
        main(["finetune", str(workdir)])
    assert len(started) == 1
