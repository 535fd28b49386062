"""Commands on runs that are not there, not finished, damaged, or do not have what is asked for."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import BACKBONE, fine_tuned, network, results_of
from networks import network_of
from PIL import Image

from assl_jax import records
from assl_jax.config import base_config
from assl_jax.data import load
from assl_jax.evaluation.export import export_backbone
from assl_jax.files import write_json
from assl_jax.models import make_backbone
from assl_jax.records import SCRATCH, Best, Evaluation, Results

TOPIC = "Finished runs and their records"
LABELS = ("scratch", "rotation", "jigsaw")


def template(root):
    """A finished run on pictures of 8x8 pixels; the networks of `jigsaw` were not kept."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (root / "pets" / split / name).mkdir(parents=True)
            for i in range(3):
                Image.new("L", (8, 8), 40 * i).save(root / "pets" / split / name / f"{i}.png")
    data = {"name": "folder", "path": "pets"}
    dataset = load("folder", path=str(root / "pets"))
    module = make_backbone(**BACKBONE)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    zeros = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    stages, run = root / "stages", root / "run"
    head = {"kernel": np.zeros((32, 2)), "bias": np.zeros(2)}
    fine_tuned(stages / "finetune-rotation", zeros, dataset, **head)
    how = {"settings": BACKBONE, "intensity": dataset.intensity, "pool": ("rotation",)}
    export_backbone(run / "backbone", zeros, **how)
    shutil.copytree(run / "backbone", stages / "pretrain-rotation" / "backbone")
    best = Best(network=network_of("rotation"), evaluation=Evaluation(metrics={}, confusion=()))
    about = {"data": "folder", "labels": 6, "test_images": 6, "classes": ("cat", "dog")}
    records.write(run / "results.json", results_of(map(network, LABELS), best=best, **about))
    config = base_config("folder").to_dict()
    write_json(run / "config.json", config | {"data": config["data"] | data, "eval_batch_size": 8})
    write_json(run / "environment.json", {"command": "none"})


def nothing(folder):
    pass


def case(words, change=nothing):
    """The arguments of a command on the run; `change` spoils the folder, which holds a copy."""

    def build(run, folder):
        shutil.copytree(run, folder, dirs_exist_ok=True)
        change(folder)
        return [word.replace("RUN", f"{folder / 'run'}") for word in words.split()]

    return build


def written(name, content):
    """`name` in the folder becomes `content`: bytes, or a function of the bytes before."""

    def change(folder):
        file = folder / name
        file.write_bytes(content(file.read_bytes()) if callable(content) else content)

    return change


def removed(name):
    def change(folder):
        file = folder / name
        shutil.rmtree(file) if file.is_dir() else file.unlink()

    return change


def results(**changes):
    def change(folder):
        file = folder / "run" / "results.json"
        records.write(file, records.read(file, Results).replace(**changes))

    return change


def kept_scratch(folder):
    best = Best(network=SCRATCH, evaluation=Evaluation(metrics={}, confusion=()))
    results(best=best)(folder)
    removed("run/backbone")(folder)


def weights(folder):
    """One byte of the weights of the fine-tuned network changes."""
    files = (folder / "stages" / "finetune-rotation" / "model").rglob("*")
    file = max((f for f in files if f.is_file()), key=lambda f: f.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


PREDICT = "predict RUN FOLDER/pets"
RESULTS, CONFIG = "run/results.json", "run/config.json"
RUN = "run mtassl_digits --dry_run --workdir=RUN"
CONFIGS = {
    "a config that is nested without end": b'{"a":' * 100_000,
    "a config of another program": b'{"name": "x"}',
    "a config with an unknown setting": b'{"data": {"name": "digits"}, "sead": 3}',
    "a config with an unknown data source": b'{"data": {"name": "digitz"}}',
    "a config with a list for a name": b'{"data": {"name": ["digits"]}}',
    "a config with a text for a group": b'{"data": {"name": "digits"}, "target": "x"}',
    "a config with a text for a number": b'{"data": {"name": "digits"}, "seed": "x"}',
    "a config with NaN": b'{"seed": NaN}',
}
CASES = {
    # What is named is no finished run.
    "`predict` on a folder that is not there": case("predict nowhere FOLDER/pets"),
    "`predict` on a file": case("predict FOLDER/run/config.json FOLDER/pets"),
    "`finetune` on a folder that is not there": case("finetune nowhere"),
    "`finetune` on a run that is not finished": case("finetune RUN", removed(RESULTS)),
    "`export` on a folder that is not there": case("export nowhere --format=onnx"),
    "`gradcam` on a folder that is not there": case("gradcam --workdir=nowhere"),
    "`probe` on a folder that is not there": case("probe --workdir=nowhere"),
    "`probe` on a run that is not finished": case("probe --workdir=RUN", removed(RESULTS)),
    "`report` on a folder that is not there": case("report nowhere"),
    "`report` on a run that is not finished": case("report RUN", removed(RESULTS)),
    "`report` on a run without its environment": case(
        "report RUN", removed("run/environment.json")
    ),
    "`report` on one run twice": case("report RUN RUN/../run"),
    # What is asked of a run.
    "`predict` of files that are not there": case("predict RUN nowhere.png"),
    "`predict` of a folder without images": case("predict RUN FOLDER/stages/pretrain-rotation"),
    "`predict` of a text": case("predict RUN FOLDER/run/config.json"),
    "`predict` of a pipe": case(
        "predict RUN FOLDER/pipe.png", lambda folder: os.mkfifo(folder / "pipe.png")
    ),
    "`predict` of a home folder of nobody": case("predict RUN ~nobody9/pets"),
    "`predict` by an unknown network": case(f"{PREDICT} --network=rotatoin"),
    "`predict` by a network that was not kept": case(f"{PREDICT} --network=jigsaw"),
    "`predict` into a folder that is not there": case(f"{PREDICT} --out=nowhere/out.csv"),
    "`predict` into a folder": case(f"{PREDICT} --out=FOLDER"),
    "`predict` with features into a folder": case(f"{PREDICT} --features=FOLDER"),
    "`predict` onto the results of a run": case(f"{PREDICT} --out=FOLDER/run/results.json"),
    "`predict` with features onto an image": case(
        f"{PREDICT} --out=FOLDER/a.csv --features=FOLDER/pets/train/cat/0.png"
    ),
    "`predict` by a run that keeps no network": case(PREDICT, results(best=None)),
    "`predict` with a limit of nothing": case(f"{PREDICT} --unsure=0"),
    "`predict` at an impossible sensitivity": case(f"{PREDICT} --sensitivity=95"),
    "`predict` at two rates": case(f"{PREDICT} --sensitivity=0.9 --specificity=0.9"),
    "`predict` for a class without a rate": case(f"{PREDICT} --positive=cat"),
    "`predict` for a class that is not there": case(f"{PREDICT} --sensitivity=0.9 --positive=cta"),
    "`predict` at a sensitivity of three classes": case(
        f"{PREDICT} --sensitivity=0.9", results(classes=("cat", "dog", "owl"))
    ),
    "`predict` at a specificity without a calibration": case(f"{PREDICT} --specificity=0.9"),
    "`finetune` of an unknown network": case("finetune RUN --network=rotatoin"),
    "`finetune` of a network without a pretraining": case("finetune RUN --network=scratch"),
    "`finetune` of a run that keeps no network": case("finetune RUN", results(best=None)),
    "`finetune` with a setting without `config.`": case("finetune RUN --target.steps=5"),
    "`finetune` with other images": case("finetune RUN --config.data.path=FOLDER/nowhere"),
    "`export` in an unknown format": case("export RUN --format=pytorch"),
    "`export` of an unknown network": case("export RUN --format=onnx --network=rotatoin"),
    "`export` of a network that was not kept": case("export RUN --format=onnx --network=jigsaw"),
    "`export` of a run of an earlier version": case("export RUN --format=safetensors"),
    "`export` of a run without a backbone": case(
        "export RUN --format=onnx", removed("run/backbone")
    ),
    "`export` of a run that kept the network from scratch": case(
        "export RUN --format=onnx", kept_scratch
    ),
    "`gradcam` of no image": case("gradcam --workdir=RUN --n=0"),
    "`gradcam` of an unknown network": case("gradcam --workdir=RUN --networks=rotatoin"),
    "`gradcam` of a network that was not kept": case("gradcam --workdir=RUN --networks=jigsaw"),
    "`gradcam` of images that are not there": case("gradcam --workdir=RUN --images=nowhere"),
    "`gradcam` over another page": case(
        "gradcam --workdir=RUN --n=1 --images=FOLDER/pets --out=FOLDER",
        lambda folder: (folder / "index.html").write_text("mine"),
    ),
    "`gradcam` onto a file": case(
        "gradcam --workdir=RUN --n=1 --images=FOLDER/pets --out=FOLDER/pets/train/cat/0.png"
    ),
    "`gradcam` without a kept network": case(
        "gradcam --workdir=RUN", removed("stages/finetune-rotation")
    ),
    "`probe` with no neighbours": case("probe --workdir=RUN --k=0"),
    "`probe` of an unknown network": case("probe --workdir=RUN --networks=rotatoin"),
    "`probe` of a checkpoint that is not there": case("probe --workdir=RUN --checkpoint=nowhere"),
    "`probe` of an unknown layer": case("probe --workdir=RUN --layer=stage9 --networks=rotation"),
    "`probe` into a folder that is not there": case("probe --workdir=RUN --out=nowhere/a.json"),
    # What a file of the run holds.
    "results that are cut off": case(PREDICT, written(RESULTS, lambda raw: raw[:99])),
    "results that are empty": case(PREDICT, written(RESULTS, b"")),
    "results that are no text": case(PREDICT, written(RESULTS, b"\xff\xfe\x00")),
    "results that are a list": case(PREDICT, written(RESULTS, b"[]")),
    "results of an earlier version": case(PREDICT, written(RESULTS, b"{}")),
    "results of a later version": case(PREDICT, written(RESULTS, b'{"version": 7}')),
    "results with a changed number": case(
        PREDICT, written(RESULTS, lambda raw: raw.replace(b'"seed": 0', b'"seed": 1'))
    ),
    "results nested a hundred thousand times": case(PREDICT, written(RESULTS, b"[" * 100_000)),
    "results with a text for a number": case(
        PREDICT, written(RESULTS, lambda raw: raw.replace(b'"seed": 0', b'"seed": "x"'))
    ),
    "a folder in place of the results": case(
        PREDICT, lambda f: ((f / RESULTS).unlink(), (f / RESULTS).mkdir())
    ),
    "a config that is cut off": case("finetune RUN", written(CONFIG, lambda raw: raw[:99])),
    "a config that is missing": case("finetune RUN", removed(CONFIG)),
    **{words: case("finetune RUN", written(CONFIG, content)) for words, content in CONFIGS.items()},
    "weights with a changed byte": case(PREDICT, weights),
    "weights that are missing": case(
        "probe --workdir=RUN --networks=rotation",
        removed("stages/pretrain-rotation/backbone/variables"),
    ),
    "a network whose description is cut off": case(
        PREDICT,
        written("stages/finetune-rotation/model/model.json", lambda raw: raw[:99]),
    ),
    "a stage that was removed": case(PREDICT, removed("stages")),
    # A run in the folder of another.
    "a workdir with the run of another config": case(RUN),
    "a workdir with another program's config": case(
        RUN,
        lambda f: (
            shutil.rmtree(f / "run"),
            (f / "run").mkdir(),
            (f / CONFIG).write_text("of another program"),
        ),
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    template(root)
    return root


def test_the_message(row, check, run):
    check(TOPIC, row, lambda folder: CASES[row](run, folder))
