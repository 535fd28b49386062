"""The house rules: which room may import which, and what stays out of start-up."""

import ast
import itertools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    # Floor 0 in steps: what everything may use, pure functions, and typed records.
    ("errors",),
    ("console", "docstrings", "files", "plugins", "ranges", "signals", "words"),
    ("lcka", "losses", "ops", "outputs", "permutations", "routes", "sections", "seeds"),
    ("records",),
    ("store",),
    ("models", "data"),
    ("objectives",),
    ("tasks",),
    ("training",),
    ("evaluation",),
    ("strategies",),
    ("report", "interop"),
    ("__init__", "__main__", "arrays", "commands", "command_line", "config", "config_files")
    + ("config_reading", "configs", "environment", "experiment", "experiments", "finishing")
    + ("groups", "main", "studies", "workdir"),
)
GROUND = 5  # the steps of floor 0
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TOP = len(FLOORS) - 1
HEAVY = {
    *("sklearn", "PIL", "matplotlib", "nibabel", "tensorflow_datasets", "tensorflow", "rich"),
    *(
        "array_record",
        "distributed",
        "jinja2",
        "nrrd",
        "onnx",
        "pandas",
        "pydicom",
        "safetensors",
        "scipy",
        "torch",
    ),
}
ONLY_IN = {  # package: the only files that may name it
    "orbax": ("assl_jax/training/checkpoint.py", "assl_jax/training/processes.py"),
    "tensorboardX": ("assl_jax/training/trackers.py",),
    "wandb": ("assl_jax/training/trackers.py",),
    "mlflow": ("assl_jax/training/trackers.py",),
    "distributed": ("assl_jax/strategies/engines.py",),
}
# On floor 0, next to the standard library; the second line for files, console and records.
PURE = {"jax", "numpy", "optax", "jaxtyping", "assl_jax"}
PURE |= {"filelock", "msgspec", "rich"}
FILES = sorted(
    file.relative_to(ROOT)
    for file in (*ROOT.glob("assl_jax/**/*.py"), *ROOT.glob("configs/*.py"), ROOT / "main.py")
)
EVERY = pytest.mark.parametrize("file", FILES, ids=str)


def imports(file, *, top_only=False):
    """Absolute names of the modules that `file` imports, and their line numbers."""
    tree = ast.parse((ROOT / file).read_text())
    found = []
    for node in top_level(tree.body) if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} is a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append((whole if is_module(whole) else node.module, node.lineno))
    return found


def top_level(body):
    """Statements that run at import: everything outside functions, and not for type checkers."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        inner = (getattr(node, name, []) for name in ("body", "orelse", "finalbody"))
        yield from top_level(itertools.chain(*inner))


def is_module(name):
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or path.is_dir()


def room_of(name):
    parts = name.split(".")
    if parts[0] == "assl_jax":
        return parts[1] if len(parts) > 1 else "__init__"
    return parts[0] if parts[0] in ("main", "configs") else None


def test_every_room_has_a_floor_and_is_looked_at():
    rooms = {room_of(".".join(file.with_suffix("").parts)) for file in FILES}
    assert rooms <= set(FLOOR_OF)
    assert {"ops", "models", "tasks", "training", "experiment", "main"} <= rooms
    assert len(FILES) > 40
    # The reader of imports sees what it must refuse.
    assert "assl_jax.losses" in dict(imports("assl_jax/tasks/simclr.py"))
    assert "sklearn.datasets" in dict(imports("assl_jax/data/digits.py"))
    assert "sklearn.datasets" not in dict(imports("assl_jax/data/digits.py", top_only=True))


@EVERY
def test_imports_go_down(file):
    own = room_of(".".join(file.with_suffix("").parts))
    for name, line in imports(file):
        room = room_of(name)
        if room is None or room == own or FLOOR_OF[own] == TOP:
            continue
        assert FLOOR_OF[room] < FLOOR_OF[own], f"{file}:{line} imports {name}: {own} -> {room}"


@EVERY
def test_packages_stay_where_they_belong(file):
    room = room_of(".".join(file.with_suffix("").parts))
    for name, line in imports(file):
        package = name.partition(".")[0]
        where = f"{file}:{line} imports {name}"
        assert package != "ml_collections" or FLOOR_OF[room] == TOP, where
        assert not name.startswith("jax._src"), where
        assert str(file) in ONLY_IN.get(package, [str(file)]), where
        if FLOOR_OF[room] < GROUND:
            assert package in PURE or package in sys.stdlib_module_names, where


@EVERY
def test_nothing_heavy_at_start_up(file):
    for name, line in imports(file, top_only=True):
        assert name.partition(".")[0] not in HEAVY, f"{file}:{line} imports {name} at start-up"


@EVERY
def test_files_are_small(file):
    lines = (ROOT / file).read_text().count("\n")
    assert lines < 400, f"{file} has {lines} lines"


def test_an_experiment_needs_no_command():
    for file in FILES:
        if room_of(".".join(file.with_suffix("").parts)) in ("experiment", "config"):
            assert not [name for name, _ in imports(file) if "assl_jax.commands" in name]
