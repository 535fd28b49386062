"""Every command line and every setting in README and docs is one that the program takes.

The program itself reads them, up to where it would start to work.
"""

import argparse
import contextlib
import functools
import io
import re
import shlex
from types import SimpleNamespace
from unittest import mock

import pytest
from doc_pages import PAGES, ROOT, command_lines, commands, commands_in, words_in_code

from assl_jax import records
from assl_jax.__main__ import COMMANDS, main
from assl_jax.command_line import Options
from assl_jax.config_files import load
from assl_jax.config_reading import complete
from assl_jax.data import SOURCES
from assl_jax.models import BACKBONES, Entry
from assl_jax.tasks import TASKS

# What stands for the reader's own value, and one that is right.
PLACEHOLDERS = {"FORMAT": "onnx", "NAME": "rotation", "N": "2", "S": "1", "DATA": "--dry_run"}
# Settings of earlier versions, whose results docs/results.md tells.
GONE = {"self_assl.floor"}
GROUPS = "data|task|backbone|pretrain|distil|similarity|search|self_assl|target|init"
SETTING = re.compile(rf"(?:{GROUPS})\.(?!py|json)[a-z_0-9.*]+(?:=.*)?")
OPTION = re.compile(r"--[a-z_]+(?:=\S*)?")


class Parsed(BaseException):
    """The program has understood its command line."""


@pytest.fixture
def read(monkeypatch, tmp_path):
    """`read(words)`: the program reads a command line, and does not begin to work."""

    def parse(self, argv):
        argparse.ArgumentParser.parse_args(self, argv)
        raise Parsed

    def run(*_, **__):
        raise Parsed

    def saved(workdir):
        return load("mtassl_digits" if "digits" in workdir.name else "pretrain:folder")

    finished = SimpleNamespace(networks=(), best=None, pretrained=("src",))
    stand_ins = {
        "assl_jax.experiment.run": run,
        "assl_jax.experiment.dry_run": run,
        "assl_jax.training.processes.initialize": lambda *_: None,
        "assl_jax.strategies.engines.Dask": lambda _: SimpleNamespace(close=lambda: None),
        "assl_jax.strategies.engines.Processes": lambda _: SimpleNamespace(close=lambda: None),
        "assl_jax.commands.finetune.saved_config": saved,
        "assl_jax.commands.finetune.records": SimpleNamespace(
            RESULTS="", Results=None, read=lambda *_: finished
        ),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(name, stand_in)
    monkeypatch.setattr(Options, "parse_args", parse)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "resnet18.safetensors").touch()  # the reader's teacher
    (tmp_path / "wandb.py").touch()  # and a package
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from densenet import DenseNet
    from mirror import Mirror

    # As the package of a reader registers them; what the lines register leaves again.
    with (
        mock.patch.dict(TASKS, {"mirror": Mirror}),
        mock.patch.dict(BACKBONES, {"densenet": Entry("", DenseNet, ignored=("stem",))}),
    ):
        yield lambda words: _read([_filled(word) for word in words])


def _read(words):
    if words[1:] == ["--help"]:
        assert words[0] in COMMANDS
        return
    try:
        main(words)
    except Parsed:
        return
    assert words[0] == "run" and "--help" in words


def _filled(word):
    """The word with a value for each placeholder."""
    return re.sub(r"(?:^|(?<=[=.]))[A-Z]+(?=$|\.)", lambda f: PLACEHOLDERS.get(f[0], f[0]), word)


@functools.cache
def settings(config, task=""):
    """Every setting of a config, also of a task."""
    found = load(config)
    found.tasks = task or found.tasks
    complete(found)
    return frozenset(records.flat_settings(found.to_dict()))


def fitting(keys):
    """The beginning of a command whose config has these settings."""
    tasks = [key.split(".")[1] for key in keys if key.startswith("task.")]
    for source in ("digits", *sorted(SOURCES)):
        config, task = f"pretrain:{source}", "".join(tasks[:1])
        if keys <= settings(config, task):
            return ["run", config, *([f"--config.tasks={task}"] if task else [])]
    raise AssertionError(f"no config has all of {', '.join(sorted(keys))}")


def whole(words):
    """A command for words that begin with a setting."""
    if words[0].startswith("--config="):
        return ["run", *words]
    if not words[0].startswith("--config."):
        return words
    keys = {word.removeprefix("--config.").partition("=")[0] for word in words}
    return [*fitting({_filled(key) for key in keys}), *(word for word in words if "=" in word)]


def mistaken(read, lines, capsys):
    """The lines that the program does not take, with its words."""
    found = []
    for words in lines:
        try:
            read(whole(words))
        except (SystemExit, AssertionError) as error:
            found.append((shlex.join(words), capsys.readouterr().err or str(error)))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_command_lines(page, read, capsys):
    assert mistaken(read, commands(page), capsys) == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_settings_in_a_sentence(page, read, capsys):
    lines = []
    for text in words_in_code(page):
        text = text.partition(", ")[0]  # "`seed=0, 1, 2`"
        if "…" in text or "..." in text or "*" in text:
            continue
        command = text.partition(" ")[0] in COMMANDS and "--" in text
        if command or re.match(r"--config[.=]", text):
            lines.append(shlex.split(text))
        elif re.match(r"(python )?(main\.py|-m assl_jax|assl-jax) ", text):
            lines += [line if line[1:] else [*line, "--help"] for line in commands_in(text)]
        elif SETTING.fullmatch(text) and not _module(text) and text not in GONE:
            lines.append([f"--config.{shlex.split(text)[0]}"])
    assert mistaken(read, [line for line in lines if not _prefix(line)], capsys) == []


def _module(text):
    """Whether it is a file's name, or a function in a module of the package."""
    return (ROOT / "assl_jax" / f"{'/'.join(text.split('.')[:2])}.py").exists()


def _prefix(line):
    """Whether it is the name of a group, as `task.cpc`."""
    return line[0].count(".") == 2 and line[0].removeprefix("--config.task.") in TASKS


@pytest.mark.parametrize("page", PAGES)
def test_groups_of_settings(page):
    known = {key for source in sorted(SOURCES) for key in settings(f"pretrain:{source}")}
    known |= {key for task in TASKS for key in settings("pretrain", task)}
    for text in words_in_code(page):
        name = text.removeprefix("--config.")
        if SETTING.fullmatch(name) and name.endswith(".*"):
            assert any(key.startswith(name[:-1]) for key in known), text


@pytest.fixture(scope="module")
def options():
    """Every option of every command, as its help names it."""
    text = io.StringIO()
    for command in COMMANDS:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([command, "--help"])
    return set(re.findall(r"--[a-z_]+", text.getvalue()))


@pytest.mark.parametrize("page", PAGES)
def test_options_in_a_sentence(page, options):
    texts = [text for text in words_in_code(page) if OPTION.fullmatch(text)]
    assert {text.partition("=")[0] for text in texts} - {"--version"} <= options


def test_benchmarks_have_the_options_that_a_page_gives_them():
    lines = [line for page in PAGES for line in command_lines(page) if "-m benchmarks." in line]
    assert len(lines) > 20
    for line in lines:
        module = re.search(r"-m benchmarks\.(\w+)", line)[1]
        if module == "gain":  # results.md names the version that still has it
            continue
        code = (ROOT / "benchmarks" / f"{module}.py").read_text()
        for option in re.findall(r"--[a-z_]+", line):
            assert f'"{option}"' in code, line


def test_files_that_pip_reads_exist():
    lines = [line for page in PAGES for line in command_lines(page) if "pip install" in line]
    files = [name for line in lines for name in re.findall(r" -r (\S+)", line)]
    assert files and all((ROOT / name).exists() for name in files)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run mtassl_digit", "did you mean"),
        ("run pretrain --config.pretrain.step=3", "--config.pretrain.step is unknown"),
        ("run pretrain --config.pretrain.steps=few", "must be a whole number"),
        ("run pretrain --config.search.metric=accurcy", "is unknown"),
        ("export runs/a --format=onnx --netwrok=a", "--netwrok"),
        ("finetune runs/digits --config.data.sides=3", "--config.data.sides is unknown"),
        ("fine_tune runs/digits", "is unknown"),
    ],
)
def test_a_mistake_in_a_line_is_found(words, says, read, capsys):
    ((line, message),) = mistaken(read, [shlex.split(words)], capsys)
    assert says in message


def test_lines_are_found():
    digits = ["run", "--config=configs/mtassl_digits.py"]
    assert digits in commands("README.md")
    remote = [words for words in commands("docs/many_machines.md") if "--distributed" in words]
    assert len(remote) == 2  # one of them inside another command
    assert ["write_phantom", "heads"] in commands("docs/from_folder_to_pytorch.md")
    continued = [words for words in commands("docs/results.md") if len(words) > 5]
    assert continued
