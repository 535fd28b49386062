"""Mistakes in a config are found before anything is written or trained."""

import importlib
from pathlib import Path

import pytest

from assl_jax import records
from assl_jax.config import base_config, plain
from assl_jax.config_reading import saved_config, typed
from assl_jax.data import SOURCES
from assl_jax.errors import InputError
from assl_jax.experiment import run
from assl_jax.files import write_json
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings
from assl_jax.workdir import begin, check_workdir, recorded_budget, reuse


def small():
    config = base_config("digits")
    config.backbone.name, config.backbone.width, config.backbone.stem = "resnet10", 1 / 16, "half"
    config.pretrain.batch_size = config.target.batch_size = 8
    config.data.side = 16
    return config


@pytest.mark.parametrize(
    "path, value, says",
    [
        ("data.labels", 30, "5-fold cross-validation needs 5"),
        ("target.folds", 1, "target.folds=1: cross-validation needs at least 2"),
        ("target.folds", 0, "target.folds=0: cross-validation needs at least 2"),
    ],
)
def test_learning_rates_need_folds_in_every_experiment(path, value, says, tmp_path):
    config = small()
    config.experiment, config.tasks = "pretrain", "src"
    config.update_from_flattened_dict({path: value})
    config.target.learning_rates = (1e-4, 1e-3)
    with pytest.raises(InputError, match=says):
        run(typed(config), tmp_path / "work")
    assert not list(tmp_path.iterdir())


def test_folds_without_a_use_are_not_checked():
    config = small()
    config.experiment, config.target.folds = "pretrain", 1
    assert typed(config).in_force.target.folds == 0


def test_the_papers_rules_are_one_setting():
    config = small()
    config.pretrain.mixing = "distil"
    assert typed(config).in_force == typed(config)
    config.search.as_printed, config.search.candidates = True, "all"
    found = typed(config).in_force
    assert found.search == SearchSettings(as_printed=True, **AS_PRINTED, candidates="all")
    assert found.search.metric == "accuracy" and found.pretrain.budget == "steps"
    assert found.pretrain.mixing == "alternate"
    assert plain(typed(config)) == config.to_dict()  # what is saved is what was asked for


@pytest.mark.parametrize(
    "changed, says",
    [
        (["target.steps"], "all but the fine-tunings"),
        (["search.metric", "tasks"], "all of it that the new config needs"),
        (["task.src.jitter", "distil.weight"], "all but the networks of src, the pools"),
        (["search.metric", "backbone.width"], "the stages that backbone.width does not change"),
    ],
)
def test_what_a_new_workdir_takes_over(changed, says):
    assert reuse(changed).endswith(says)


def test_a_workdir_without_its_environment_is_still_of_its_config(tmp_path):
    settings = small().to_dict()
    begin(tmp_path / "work", tmp_path / "stages", settings)
    (tmp_path / "work" / "environment.json").unlink()
    with pytest.raises(InputError, match=r"another config \(different: seed\)"):
        check_workdir(tmp_path / "work", tmp_path / "stages", {**settings, "seed": 7})
    check_workdir(tmp_path / "work", tmp_path / "stages", settings)
    begin(tmp_path / "work", tmp_path / "stages", settings)
    assert records.read_settings(tmp_path / "work" / "environment.json")
    (tmp_path / "work" / "config.json").write_text("{")
    begin(tmp_path / "work", tmp_path / "stages", settings)
    assert records.read_settings(tmp_path / "work" / "config.json") == settings
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("of another program")
    with pytest.raises(InputError, match="config.json is damaged"):
        check_workdir(tmp_path / "other", tmp_path / "stages", settings)


def test_a_budget_is_the_recorded_one_in_each_of_its_forms(tmp_path):
    settings, work = small().to_dict(), tmp_path / "work"
    assert recorded_budget(work, "30 min") == "30 min"
    settings["search"]["budget"] = "12.3 TFLOP (30 min)"
    begin(work, tmp_path / "stages", settings)
    for budget in ("30 min", "12.3 TFLOP", "12.3 TFLOP (30 min)"):
        assert recorded_budget(work, budget) == "12.3 TFLOP (30 min)"
        again = settings | {"search": settings["search"] | {"budget": budget}}
        check_workdir(work, tmp_path / "stages", again)
    for budget in ("", "3 min", "0 min", "12.3 singles", "2.3 TFLOP"):
        assert recorded_budget(work, budget) == budget
        again = settings | {"search": settings["search"] | {"budget": budget}}
        with pytest.raises(InputError, match=r"another config \(different: search.budget\)"):
            check_workdir(work, tmp_path / "stages", again)


def test_a_setting_that_an_earlier_version_lacked_counts_with_its_default(tmp_path):
    settings = small().to_dict()
    del settings["task"]["jigsaw"], settings["similarity"]["layer"]
    write_json(tmp_path / "config.json", settings)
    check_workdir(tmp_path, tmp_path, small().to_dict())
    config = small()
    config.similarity.layer = "stage2"
    with pytest.raises(
        InputError, match=r"\(different: similarity.layer\).*all but the comparisons"
    ):
        check_workdir(tmp_path, tmp_path, config.to_dict())


@pytest.mark.parametrize("data", SOURCES)
def test_a_saved_config_comes_back_equal(data, tmp_path):
    config = base_config(data)
    config.pretrain.steps, config.backbone.delay = 7, (1, 0)
    write_json(tmp_path / "config.json", config.to_dict())
    assert saved_config(tmp_path) == config


def test_a_config_of_an_older_version(tmp_path):
    """A setting that is missing has its default; one that is unknown is one clear line."""
    write_json(tmp_path / "config.json", {"data": {"name": "digits"}, "seed": 3})
    config = saved_config(tmp_path)
    assert config.seed == 3 and config.similarity.n == base_config("digits").similarity.n
    for broken in ({"data": {"name": "digits"}, "sead": 3}, {"seed": 3}):
        write_json(tmp_path / "config.json", broken)
        with pytest.raises(InputError, match="config.json is not a config of this version"):
            saved_config(tmp_path)
    # What every run does now is no mistake in a config of earlier versions.
    old = {"data": {"name": "digits"}, "joint": {"weight": 1.0}}
    write_json(tmp_path / "config.json", old)
    assert saved_config(tmp_path) == base_config("digits")
    check_workdir(tmp_path, tmp_path, base_config("digits").to_dict())
    write_json(tmp_path / "config.json", old | {"joint": {"weight": 2.0}})
    with pytest.raises(InputError, match="joint.weight is gone: all tasks"):
        saved_config(tmp_path)


@pytest.mark.parametrize("name", ["pairs", "table4"])
def test_one_config_for_every_data_set(name):
    module = importlib.import_module(f"configs.{name}")
    names = [p.stem.removeprefix("mtassl_") for p in Path("configs").glob("mtassl_*.py")]
    assert len(names) >= 7
    for data in names:
        config = module.get_config(data)
        assert config.experiment == name
        volumes = data not in ("digits", "folder", "stl10")
        assert ("rubiks_cube" in config.tasks) == volumes
        assert f"{data}" in module.__doc__
    large = module.get_config("stl10").self_assl.backbones
    assert large == (("vgg16", "resnet18") if name == "table4" else ())
    assert module.get_config().self_assl.backbones == ()
