"""How tests run the whole program, on a tiny config."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from ml_collections import ConfigDict

from assl_jax import records
from assl_jax.config import base_config
from assl_jax.records import Results

ROOT = Path(__file__).parents[2]
TINY = (
    "--config=configs/mtassl_digits.py",
    "--config.tasks=src,rotation",
    "--config.data.side=16",
    "--config.data.test=50",
    "--config.backbone.name=tinynet:TinyNet",
    "--config.backbone.width=1",
    "--config.pretrain.steps=12",
    "--config.pretrain.batch_size=8",
    "--config.target.steps=4",
    "--config.target.batch_size=8",
    "--config.target.seeds=2",
    "--config.target.folds=2",
    "--config.similarity.n=64",
    "--config.search.budget=9 singles",  # one round
    "--config.pretrain.budget=steps",
    "--config.student.share=0",
    "--config.pretrain.mixing=alternate",
    "--config.checkpoint_every=4",
    "--config.log_every=4",
)
# The same, smaller still, for runs in the process of the test.
SMALL = {
    "tasks": "rotation,src",
    "data.side": 16,
    "data.test": 50,
    "data.labels": 40,
    "backbone.name": "tinynet:TinyNet",
    "backbone.width": 1.0,
    "pretrain.steps": 4,
    "pretrain.batch_size": 8,
    "pretrain.mixing": "distil",
    "target.steps": 2,
    "target.batch_size": 8,
    "target.seeds": 1,
    "target.folds": 2,
    "similarity.n": 32,
    "search.budget": "9 singles",
    "student.share": 0,
    "keep_compiled": False,
    "checkpoint_every": 2,
}
# Those of conftest.py that make compiling cheap; not its eight devices.
FLAGS = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
ENVIRONMENT = {
    "XLA_FLAGS": " ".join(FLAGS),
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "PYTHONPATH": str(Path(__file__).parent),  # of tinynet
}


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "main.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def small() -> ConfigDict:
    config = base_config("digits")
    config.update_from_flattened_dict(SMALL)
    return config


def read(workdir: Path) -> Results:
    return records.read(workdir / "results.json", Results)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {
        str(p.relative_to(folder)): (
            p.stat().st_mtime_ns,
            hashlib.sha256(p.read_bytes()).hexdigest(),
        )
        for p in files
    }
