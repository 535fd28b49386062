"""Command lines and config files that cannot be used."""

import os

TOPIC = "The command line and config files"
WORK = "--workdir=FOLDER/work"
GIVEN = {  # besides WORK where a run is asked for
    "no config": "run",
    "a config's name with a slip": "run mtassl_foldr",
    "a config file that is not there": "run --config=my_config.py",
    "a config of ours by a path that is not there": "run --config=configs/pairs.py",
    "an unknown word after the colon": "run pretrain:digitz",
    "an unknown size": "run mtassl_folder:tiny",
    "a word for a config that takes none": "run mtassl_digits:small",
    "an option with a slip": "run mtassl_digits --wrokdir=x",
    "a setting with a slip": "run mtassl_digits --config.pretrain.stepz=3",
    "a setting without `config.`": "run mtassl_digits --pretrain.steps=3",
    "a setting without its group": "run mtassl_digits --steps=3",
    "a setting without a value": "run mtassl_digits --config.pretrain.steps",
    "a setting of another data source": "run mtassl_digits --config.data.path=photos",
    "a group in place of a setting": "run mtassl_digits --config.pretrain=3",
    "a stray word": "run mtassl_digits photos",
    "two configs": "run mtassl_digits --config=pairs",
    "text where a switch is": "run mtassl_digits --config.search.complement=maybe",
    "an unknown value of an option": "run mtassl_digits --reuse=all",
    "text where an option needs a number": "run mtassl_digits --num_processes=two",
    "a home folder of nobody": "run mtassl_digits --workdir=~nobody9/runs",
    "`--coordinator` alone": "run mtassl_digits --coordinator=localhost:1",
    "one job, where several are meant": "run mtassl_digits --job=4",
    "no job": "run mtassl_digits --jobs=0",
    "jobs beside a distributed run": "run mtassl_digits --jobs=2 --distributed",
    "an unknown command": "runn mtassl_digits",
    "`predict` without files": "predict FOLDER/run",
    "`predict` with an unknown option": "predict FOLDER/run a.png --size=3",
    "`export` without a format": "export FOLDER/run",
    "`gradcam` without a workdir": "gradcam",
    "`gradcam` with text for a number": "gradcam --workdir=FOLDER/run --n=few",
    "`probe` with a stray word": "probe --workdir=FOLDER/run src",
    "`report` without a run": "report",
    "`list` with a word": "list tasks",
    "`finetune` without a run": "finetune",
    "`write_phantom` with text for a shape": "write_phantom FOLDER/heads --shape=small",
    "`write_phantom` with a shape of two axes": "write_phantom FOLDER/heads --shape=8,8",
    "`write_phantom` with an absurd shape": "write_phantom FOLDER/heads --shape=9000,9000,9000",
    "`write_phantom` with an absurd number": "write_phantom FOLDER/heads --volumes=1000000000",
    "`write_phantom` with fewer volumes than labels": "write_phantom FOLDER/heads --volumes=9",
    "`write_phantom` into a folder that is not empty": "write_phantom FOLDER/full",
    "`write_phantom` onto a file": "write_phantom FOLDER/full/a.txt",
}
FILES = {  # config files of the user's
    "a config file with a syntax error": "def get_config(:",
    "a config file without `get_config`": "x = 3",
    "a config file that returns something else": "def get_config(): return {}",
    "a config file that raises": "def get_config(): raise KeyError('steps')",
    "a config file that calls exit": "raise SystemExit(0)",
    "a config file that is not UTF-8": b"\xff\xfe\x00",
    "a config without settings": "import ml_collections as m\nget_config = m.ConfigDict",
    "a config with an unknown setting": "from assl_jax.config import base_config\n"
    "def get_config():\n c = base_config('digits'); c.pretrain.lr = 3; return c",
    "a config with a value of another type": "from assl_jax.config import base_config\n"
    "def get_config():\n c = base_config('digits'); c.seed = 'x'; return c",
    "a config that lacks a group": "from assl_jax.config import base_config\n"
    "def get_config():\n c = base_config('digits'); del c.search; return c",
}


def command(words):
    def case(folder):
        (folder / "full").mkdir()
        (folder / "full" / "a.txt").touch()
        arguments = words.split()
        own = arguments[0].startswith("run") and "--workdir" not in words
        return [*arguments, *([WORK] if own else [])]

    return case


def config(content):
    def case(folder):
        file = folder / "mine.py"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["run", f"--config={file}", WORK]

    return case


def folder_as_config(folder):
    (folder / "mine.py").mkdir()
    return ["run", f"--config={folder / 'mine.py'}", WORK]


def pipe_as_config(folder):
    os.mkfifo(folder / "mine.py")
    return ["run", f"--config={folder / 'mine.py'}", WORK]


def file_as(option, name="taken"):
    def case(folder):
        (folder / "taken").touch()
        return ["run", "mtassl_digits", WORK, f"--{option}={folder / name}"]

    return case


CASES = {
    **{words: command(given) for words, given in GIVEN.items()},
    **{words: config(content) for words, content in FILES.items()},
    "a folder as a config file": folder_as_config,
    "a pipe as a config file": pipe_as_config,
    "a file as the workdir": file_as("workdir"),
    "a workdir below a file": file_as("workdir", "taken/work"),
    "a file as the folder of the stages": file_as("stages"),
}


def test_the_message(row, check):
    check(TOPIC, row, CASES[row])
