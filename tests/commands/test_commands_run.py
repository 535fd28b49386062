"""The command line of a run, without training."""

import os
import re
from pathlib import Path

import pytest

from assl_jax import experiment
from assl_jax.__main__ import main
from assl_jax.strategies.engines import Here, Processes


@pytest.fixture
def started(tmp_path, monkeypatch):
    """What `experiment.run` was called with; the current folder is another one."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("run", "dry_run"):
        monkeypatch.setattr(
            experiment, name, lambda config, *rest, **named: calls.append((config, *rest, named))
        )
    return calls


def test_a_config_by_name_from_any_folder(started):
    main(["run", "mtassl_digits", "--config.pretrain.steps=7"])
    main(["run", "--config=pairs:digits", "--workdir=~/runs/x", "--stages", "~/s"])
    (config, *folders, named), (pairs, *own, _) = started
    assert config.pretrain.training.steps == 7
    assert folders == [Path("runs/mtassl_digits"), None]
    assert isinstance(named.pop("engine"), Here)
    assert named == {"again": False, "reuse_settings": False}
    assert pairs.experiment == "pairs"
    assert own == [Path.home() / "runs" / "x", Path.home() / "s"]


def test_the_run_of_a_word_has_its_name(started):
    main(["run", "pairs:digits", "--reuse=settings", "--dry_run"])
    _, workdir, _, named = started[0]
    assert workdir == Path("runs/pairs_digits")
    assert named == {"again": False, "reuse_settings": True}


def test_jobs_are_processes_of_this_machine(started, monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")  # a user's own stays
    main(["run", "mtassl_digits", "--config.seed=3", "--jobs=3"])
    engine = started[0][-1]["engine"]
    assert isinstance(engine, Processes) and engine.workers == 3
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.5"


def test_all_mistakes_each_on_its_line(started, capsys):
    wrong = ("--data.test=3", "--config.tasks=srk", "--config.target.folds=1")
    says = "did you mean --config.data.test?", "did you mean 'src'?", "target.folds=1"
    with pytest.raises(SystemExit) as stopped:
        main(["run", "mtassl_digits", *wrong])
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and not started
    for line, part in zip(lines, says, strict=True):
        assert line.startswith("error: ") and part in line


def test_help(started, capsys):
    main(["run", "--help"])
    text = capsys.readouterr().out
    assert "--workdir" in text and "mtassl_folder" in text and "--config.seed" not in text
    main(["run", "mtassl_folder", "--help", "--config.pretrain.steps=9"])
    text = capsys.readouterr().out
    assert "Algorithm 1 on your own folder of images." in text
    assert "--config.pretrain.steps=9\n      optimiser steps." in text
    assert not started


def settings_in(text):
    return re.findall(r"^  --config\.(\S+)=", text, re.MULTILINE)


def test_help_shows_the_settings_to_begin_with_and_all_on_demand(capsys):
    few = "data.path data.side data.window data.labels tasks backbone.name pretrain.steps "
    few = (few + "pretrain.batch_size target.steps search.metric init.path seed").split()
    for words in (["mtassl_folder", "--help"], ["--help", "mtassl_folder"]):
        main(["run", *words])
        text = capsys.readouterr().out
        assert settings_in(text) == few
        assert "choices: src, mcpc, " in text and "choices: resnet10, " in text
        assert "log_loss, calibrated_log_loss" in " ".join(text.split())
    main(["run", "mtassl_folder", "--help=all"])
    every = settings_in(capsys.readouterr().out)
    assert len(every) > 100 and set(few) < set(every)
    main(["run", "mtassl_volumes", "--help"])
    assert {"data.shape", "data.window"} < set(settings_in(capsys.readouterr().out))


def test_list_shows_everything_with_a_sentence(capsys):
    from assl_jax.config_files import own_configs
    from assl_jax.data import SOURCES
    from assl_jax.models import BACKBONES
    from assl_jax.tasks import TASKS

    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    shown = dict(line.split(maxsplit=1) for line in lines if line.startswith("  "))
    assert set(shown) == {*own_configs(), *TASKS, *SOURCES, *BACKBONES}
    assert all(len(sentence) > 20 for sentence in shown.values())


def test_version_and_commands(capsys):
    import assl_jax

    main(["--version"])
    assert capsys.readouterr().out == f"assl_jax {assl_jax.__version__}\n"
    main([])
    assert "  run " in capsys.readouterr().out
