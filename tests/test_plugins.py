"""Tasks, sources and backbones from other packages, by entry point and by `module:Class`."""

import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from assl_jax import models, plugins, tasks
from assl_jax.command_line import override
from assl_jax.config import _backbones, mistakes_of, saved_config
from assl_jax.config_keys import base_config
from assl_jax.data import load, source_settings
from assl_jax.errors import InputError
from assl_jax.files import write_json
from assl_jax.models import backbone_entry, make_backbone
from assl_jax.tasks import describe, make_task, task_class

EXAMPLES = Path(__file__).parents[1] / "examples"
OWN = ("mirror", "densenet", "arrays", "vit")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder with the user's files; the tables are restored afterwards."""
    for name in OWN:
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))
    monkeypatch.setattr("assl_jax.config_keys.TASKS", tasks.TASKS)
    monkeypatch.setattr(models, "BACKBONES", dict(models.BACKBONES))
    yield tmp_path
    for name in OWN:
        sys.modules.pop(name, None)


@pytest.fixture
def installed(monkeypatch):
    """A package that registers all three, and one that is broken."""
    points = {
        "assl_jax.tasks": {"mirror": "mirror:Mirror", "bad": "no_such_module:Task"},
        "assl_jax.data": {"arrays": "arrays:Arrays"},
        "assl_jax.backbones": {"densenet": "densenet:DenseNet"},
    }
    found = {g: {n: EntryPoint(n, v, g) for n, v in each.items()} for g, each in points.items()}
    monkeypatch.setattr(plugins, "entry_points", lambda group: found[group])


@pytest.mark.parametrize("name", ["mirror", "mirror:Mirror"])
def test_a_task_of_another_package(name, installed):
    config = base_config("digits")
    arguments = ["--config.task.mirror.probability=0.25", f"--config.tasks={name},rotation"]
    assert override(config, arguments) == [] and mistakes_of(config) == []
    assert make_task(name, **config.task.mirror.to_dict()).probability == 0.25
    assert describe("mirror").title == "Mirror"
    config.task.mirror.probability = 2.0
    assert "task.mirror.probability=2.0" in "".join(mistakes_of(config))


def test_a_task_that_the_config_does_not_name_leaves_no_settings(installed):
    assert "mirror" not in base_config("digits").task


def test_a_run_with_such_a_task_is_read_again(tmp_path):
    config = base_config("digits")
    assert override(config, ["--config.tasks=mirror:Mirror"]) == []
    write_json(tmp_path / "config.json", config.to_dict())
    assert saved_config(tmp_path) == config


@pytest.mark.parametrize("name", ["densenet", "densenet:DenseNet"])
def test_a_backbone_of_another_package(name, installed):
    assert make_backbone(name, width=0.25, stem="half").width == 0.25
    assert backbone_entry(name).title == "DenseNet"
    with pytest.raises(InputError, match="has no meaning"):
        make_backbone(name, remat=True)


@pytest.mark.parametrize(
    "name, typed, width",
    [
        ("bare:Bare", [], 1.0),
        ("bare:Bare", ["width=0.5"], 0.5),
        ("vit:ViT", [], 0.25),
        ("vit:ViT", ["width=0.5"], 0.5),
    ],
)
def test_what_the_program_sets_is_not_held_against_a_network_without_it(
    name, typed, width, tmp_path
):
    """A config's own width, stem and `remat`, and the delay that thin volumes get."""
    (tmp_path / "bare.py").write_text(
        "import flax.linen as nn\n\n\nclass Bare(nn.Module):\n    pass\n"
    )
    config = base_config("digits")
    config.backbone.width, config.backbone.stem, config.backbone.remat = 0.25, "half", True
    settings = [f"--config.backbone.{each}" for each in (f"name={name}", *typed)]
    assert override(config, settings) == []
    assert config.backbone.width == width and config.backbone.remat is False
    refused = [f"backbone.width=0.5 has no meaning for {name}; leave it out"]
    assert mistakes_of(config) == (refused if typed and name == "bare:Bare" else [])
    delays = [_backbones(each, (8, 64, 64))[0]["delay"] for each in (config, base_config("digits"))]
    assert delays == [[], [3, 0, 0]]


def test_what_an_entry_fixes_is_part_of_a_stage(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from assl_jax.models import Entry\nfrom densenet import DenseNet\n"
        'DEEP = Entry("Deep", DenseNet, {"layers": (6, 12)}, ignored=("stem",))\n'
    )
    assert make_backbone("mine:DEEP").layers == (6, 12)
    assert models.fixed_elsewhere({"name": "mine:DEEP"}) == {"layers": (6, 12)}
    assert models.fixed_elsewhere({"name": "resnet18"}) == models.fixed_elsewhere({}) == {}


@pytest.mark.parametrize("name", ["arrays", "arrays:Arrays"])
def test_a_source_of_another_package(name, installed, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4, 1), np.uint8))
    np.save(tmp_path / "labels.npy", np.repeat([0, 1], 10))
    config = base_config("folder")
    assert override(config, [f"--config.data.name={name}", "--config.data.path=."]) == []
    assert set(config.data) == {"name", *source_settings(name)}
    assert len(load(name, path=".").images) == 20


@pytest.mark.parametrize(
    "ask, says",
    [
        (lambda: task_class("mirorr"), "did you mean 'mirror'?"),
        (lambda: task_class("bad"), "task='bad': no_such_module cannot be imported"),
        (lambda: task_class("nowhere:Task"), "nowhere cannot be imported (ModuleNotFoundError"),
        (lambda: task_class("mirror:Miror"), "mirror has no Miror"),
        (lambda: task_class("mirror:"), "mirror has no name after the colon"),
        (lambda: task_class("mirror:MirrorHead"), "must be a dataclass that derives from"),
        (lambda: task_class("raises:Task"), "raises cannot be imported (ZeroDivisionError"),
        (lambda: task_class("same:Rotation"), "calls itself 'rotation' as another task does"),
        (lambda: backbone_entry("arrays:Arrays"), "must be a Flax module"),
        (lambda: source_settings("mirror:Mirror"), "arguments all have defaults"),
    ],
)
def test_a_mistake_is_one_line(ask, says, installed, tmp_path):
    (tmp_path / "raises.py").write_text("1 / 0")
    (tmp_path / "same.py").write_text(
        "import dataclasses\nfrom assl_jax.tasks import rotation\n\n\n"
        "@dataclasses.dataclass(frozen=True, kw_only=True)\n"
        "class Rotation(rotation.Rotation):\n    pass\n"
    )
    with pytest.raises(InputError) as error:
        ask()
    assert says in str(error.value) and "\n" not in str(error.value)
