"""Settings on the command line, what each means, and every mistake at once."""

import pytest
from mistakes import mistakes_of

from assl_jax.command_line import describe, override, read
from assl_jax.config import base_config, declared_settings
from assl_jax.config_reading import GONE, defaults
from assl_jax.data import SOURCES
from assl_jax.errors import Mistakes
from assl_jax.records import flat_settings


@pytest.fixture
def config():
    return base_config("digits")


@pytest.mark.parametrize(
    "arguments, key, value",
    [
        (["--config.pretrain.steps=5"], "pretrain.steps", 5),
        (["--config.pretrain.steps", "5"], "pretrain.steps", 5),
        (["--config.pretrain.steps=1", "--config.pretrain.steps=5"], "pretrain.steps", 5),
        (["--config.pretrain.learning_rate=1e-2"], "pretrain.learning_rate", 0.01),
        (["--config.pretrain.warmup=1"], "pretrain.warmup", 1.0),
        (["--config.tasks=src,rotation"], "tasks", "src,rotation"),
        (["--config.backbone.delay=(2, 0, 0)"], "backbone.delay", (2, 0, 0)),
        (["--config.self_assl.backbones=('vgg11',)"], "self_assl.backbones", ("vgg11",)),
        (["--config.search.complement=True"], "search.complement", True),
        (["--noconfig.search.as_printed"], "search.as_printed", False),
        (["--config.backbone.remat"], "backbone.remat", True),
        (["--config.backbone.remat=true"], "backbone.remat", True),
        (["--config.search.rungs=0.25,0.5"], "search.rungs", (0.25, 0.5)),
        (["--config.search.rungs=[0.5]"], "search.rungs", (0.5,)),
        (["--config.backbone.width=inf"], "backbone.width", float("inf")),
    ],
)
def test_a_setting_is_changed_and_no_other(arguments, key, value, config):
    before = flat_settings(config.to_dict())
    assert override(config, arguments) == []
    after = flat_settings(config.to_dict())
    assert type(after[key]) is type(value)
    assert after == before | {key: value}


@pytest.mark.parametrize(
    "argument, says",
    [
        ("--config.pretrain.stepz=3", "did you mean --config.pretrain.steps?"),
        ("--wrokdir=x", "did you mean --workdir?"),
        ("--config.pretrain.steps=1.5", "must be a whole number"),
        ("--config.search.rungs=half", "must be a list in brackets"),
        ("--config.pretrain.steps", "has no value"),
        ("word", "unknown argument 'word'"),
    ],
)
def test_a_mistake_names_the_remedy_and_changes_nothing(argument, says, config):
    (told,) = override(config, [argument], ["workdir"])
    assert says in told and "\n" not in told
    assert config == base_config("digits")


def test_all_mistakes_at_once(config):
    arguments = ["--config.seed=x", "--config.side=3", "--config.pretrain.batch_size=8"]
    assert len(override(config, arguments)) == 2
    assert config.pretrain.batch_size == 8
    config.tasks, config.seed, config.target.seeds = "src,rotatoin", -1, 0
    config.data.seed = -2
    config.backbone.width, config.search.metric = float("nan"), "acuracy"
    told = "\n".join(mistakes_of(config))
    parts = ("'rotation'", "seed=-1", "target.seeds=0", "width=nan", "accuracy", "data.seed=-2")
    for part in parts:
        assert part in told


def test_a_config_without_a_mistake():
    for data in SOURCES:
        assert mistakes_of(base_config(data)) == []


@pytest.mark.parametrize("key", GONE)
def test_a_setting_that_is_gone_says_so(key, config, monkeypatch):
    if key in flat_settings(config.to_dict()):
        pytest.skip("it still is")
    with pytest.raises(Mistakes, match=rf"{key} is gone: .*; leave it out"):
        read(config, [f"--config.{key}=1"])


@pytest.mark.parametrize("data", SOURCES)
def test_every_setting_has_a_meaning(data):
    config = base_config(data)
    declared = declared_settings(defaults(config)[0])
    assert declared.keys() == flat_settings(config.to_dict()).keys()
    for key, setting in declared.items():
        said = setting.meaning
        assert len(said) > 8 and not said.startswith(("as in", "see")), (key, said)


def test_the_help_shows_every_setting_with_its_value(config):
    text = describe(config, 80)
    assert max(len(line) for line in text.splitlines() if line.startswith("      ")) <= 80
    for key in flat_settings(config.to_dict()):
        assert f"--config.{key}=" in text
    assert '--config.backbone.delay="()"' in text
    assert "--config.data.labels=100\n      size of the labelled training set" in text


@pytest.mark.parametrize(
    "key, names",
    [
        ("search.next", ["lcka", "complement"]),
        ("target.balance", ["none", "sampling", "weights"]),
        ("data.val", ["train", "unlabeled", "test", "ignore"]),
        ("backbone.dtype", ["float32", "bfloat16"]),
        ("task.inpaint.region", None),
        ("log_to", ["tensorboard", "wandb", "mlflow"]),
        ("pretrain.steps", []),
        ("data.path", []),
    ],
)
def test_the_choices_are_those_that_are_checked(key, names):
    config = base_config("folder")
    found = declared_settings(defaults(config)[0])[key].choices
    assert found == names if names is not None else len(found) > 1
    told = override(config, [f"--config.{key}=no_such_name"]) or mistakes_of(config)
    for name in found:
        assert name in "".join(told)


def test_another_source_brings_its_settings_and_keeps_the_common_ones():
    config = base_config("folder")
    arguments = ["--config.data.window=(0,80)", "--config.data.name=volumes"]
    assert override(config, ["--config.data.labels=20", *arguments]) == []
    assert set(config.data) == set(base_config("volumes").data)
    assert config.data.labels == 20 and config.data.window == (0, 80)
