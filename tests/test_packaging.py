"""What is published: the version once, all packages, the configs inside."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import assl_jax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_in_the_wheel():
    packages = PROJECT["tool"]["setuptools"]["packages"]
    rooms = {file.parent.relative_to(ROOT) for file in ROOT.glob("assl_jax/**/*.py")}
    assert set(packages) == {".".join(room.parts) for room in rooms} | {"assl_jax.configs"}
    assert packages == sorted(packages)


def test_the_version_is_written_once():
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## (\d\S*)", changes, re.MULTILINE)
    assert released[0] == assl_jax.__version__
    for name in ("pyproject.toml", "CITATION.cff"):
        assert assl_jax.__version__ not in (ROOT / name).read_text(), name


def test_every_import_is_of_a_declared_package():
    extras = PROJECT["project"]["optional-dependencies"].values()
    declared = [*PROJECT["project"]["dependencies"], *itertools.chain(*extras)]
    names = {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in declared}
    owners = packages_distributions() | {"mlflow": ["mlflow-skinny"]}
    for file in ROOT.glob("assl_jax/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for module in {name.split(".")[0] for name in modules}:
                own = {each.lower().replace("_", "-") for each in owners.get(module, [module])}
                known = module in sys.stdlib_module_names or module == "assl_jax"
                assert known or own & names, f"{file.name} imports {module}"


@pytest.mark.long
def test_an_editable_install_has_the_configs(tmp_path):
    """Without `configs/__init__.py`, setuptools' finder does not find them."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q", "--no-compile", "--no-deps"]
    subprocess.run([*pip, "-e", str(ROOT)], check=True)
    code = "import assl_jax.configs as c; print(c.__file__)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT / "configs" / "__init__.py"), done.stderr


@pytest.mark.long
def test_the_wheel_works_from_another_folder(tmp_path):
    """Built, unpacked beside the installed requirements, and run without the checkout."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target"]
    subprocess.run([*pip, str(tmp_path / "site"), "--no-deps", str(ROOT)], check=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "XLA_FLAGS": ""}

    def command(*arguments):
        done = subprocess.run(
            [str(tmp_path / "site" / "bin" / "assl-jax"), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert (tmp_path / "site" / "assl_jax" / "configs" / "mtassl_folder.py").exists()
    assert "mtassl_folder" in command("list")
    settings = ("pretrain.steps=2", "target.steps=2", "target.seeds=1", "target.folds=2")
    small = ("tasks=rotation", "backbone.width=0.0625", "data.side=16", "similarity.n=32")
    assert "Report:" in command(
        "run", "mtassl_digits", *(f"--config.{each}" for each in (*settings, *small))
    )
    assert (tmp_path / "runs" / "mtassl_digits" / "report" / "index.html").exists()
