"""`finetune`: a finished run's backbone on other labels."""

import pytest

from assl_jax import records
from assl_jax.__main__ import main
from assl_jax.config_keys import base_config
from assl_jax.files import write_json
from assl_jax.records import Best, Estimate, Evaluation, NetworkRecord, Results


@pytest.fixture
def workdir(tmp_path):
    """A finished run; its weights are not read here."""
    (tmp_path / "run").mkdir()
    accuracy = Estimate(mean=0.5, std=0.0)
    network = NetworkRecord(
        label="rotation",
        pool=("rotation",),
        variant="plain",
        backbone="resnet10",
        pretrain="pretrain-rotation-1-2",
        finetune="finetune-rotation-1-2",
    )
    results = Results(
        experiment="mtassl",
        data="digits",
        space=(32, 32),
        seed=0,
        select_on="cv",
        metric="accuracy",
        labels=100,
        test_images=500,
        classes=("0", "1"),
        stages="../stages",
        networks=(network,),
        best=Best(
            pool=("rotation",),
            evaluation=Evaluation(metrics={"accuracy": accuracy}, confusion=((1.0,),)),
        ),
    )
    records.write(tmp_path / "run" / "results.json", results)
    config = base_config("digits")
    config.pretrain.steps = 77
    write_json(tmp_path / "run" / "config.json", config.to_dict())
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
    assert config.experiment == "finetune" and config.pretrain.steps == 77
    assert (config.data.labels, config.target.steps) == (50, 9)
    assert config.init.path == str(workdir)


def test_another_network_and_workdir(workdir, started, tmp_path):
    main(["finetune", str(workdir), "--network=rotation", f"--workdir={tmp_path / 'new'}"])
    ((config, folder),) = started
    assert folder == tmp_path / "new"
    assert config.init.path == str(tmp_path / "stages" / "pretrain-rotation-1-2")
    assert config.backbone.name == "resnet10"


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


def test_mistakes_are_one_line(workdir, started, tmp_path, capsys):
    def says(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["finetune", *arguments])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    assert "did you mean 'rotation'" in says(str(workdir), "--network=rotatoin")
    assert "config.target.steps" in says(str(workdir), "--target.steps=5")
    assert "name the folder of a finished run" in says()
    assert "does not exist" in says(str(tmp_path / "nowhere"))
    assert started == []
