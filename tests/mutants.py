"""Mutation testing: changes one place of a file at a time and asks whether its tests notice.

    python tests/mutants.py assl_jax/routes.py tests/test_routes.py tests/test_properties.py

A mutant is the file with one comparison, operator, number, truth value, condition or returned value
changed. The tests run in a fork, so that JAX is imported once. The line of each mutant that
survives is printed. Annotations, docstrings and messages of errors are not changed.
"""

import argparse
import ast
import contextlib
import copy
import importlib.machinery
import importlib.util
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

import jax  # noqa: F401 - imported once for all forks
import optax  # noqa: F401 - as above
import pytest

SECONDS = 300  # the tests of a mutant that take longer count as failed: it does not end

SWAPS = [
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq)),
    *((ast.In, ast.NotIn), (ast.Is, ast.IsNot), (ast.And, ast.Or)),
    *((ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr)),
]
OTHER: dict[type, type] = {
    **dict(SWAPS),
    **{b: a for a, b in SWAPS},
    **dict.fromkeys([ast.FloorDiv, ast.Mod, ast.Pow], ast.Mult),
}
LEFT_OUT = (ast.Raise, ast.JoinedStr, ast.arg)


def changed(node: ast.AST) -> ast.AST | None:
    """The node with one change; None for one that stays."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare():
            new.ops[0] = OTHER[type(new.ops[0])]()
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OTHER:
            new.op = OTHER[type(op)]()
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return new.operand
        case ast.IfExp() | ast.If() | ast.While():
            new.test = ast.UnaryOp(ast.Not(), new.test)
        case ast.Return(value=ast.expr()):
            new.value = ast.Constant(None)
        case ast.Constant(value=bool()):
            new.value = not new.value
        case ast.Constant(value=int() | float()):
            new.value += 1
        case _:
            return None
    return new


Put = Callable[[ast.AST], None]


def places(parent: ast.AST) -> Iterator[tuple[ast.AST, Put]]:
    """Every node below `parent` that may change, and the function that puts another there."""
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for i, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or isinstance(node, LEFT_OUT):
                continue

            def put(new: ast.AST, field: str = field, value: object = value, i: int = i) -> None:
                if isinstance(value, list):
                    value[i] = new
                else:
                    setattr(parent, field, new)

            yield node, put
            yield from places(node)


def mutants(path: pathlib.Path) -> Iterator[tuple[int, str, ast.AST]]:
    """Every mutant of a file: its line, what has changed, and its syntax tree."""
    tree = ast.parse(path.read_text())
    for node, put in list(places(tree)):
        if new := changed(node):
            put(ast.fix_missing_locations(ast.copy_location(new, node)))
            before, after = (ast.unparse(n).splitlines()[0] for n in (node, new))
            yield node.lineno, f"{before}  ->  {after}", tree
            put(node)


class Mutated(importlib.machinery.SourceFileLoader):
    """A plugin of pytest, a finder and a loader: `tree` replaces the module `name`."""

    def __init__(self, name: str, path: pathlib.Path, tree: ast.AST) -> None:
        super().__init__(name, str(path))
        self.tree = tree

    def pytest_configure(self) -> None:
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def get_code(self, name: str):
        return compile(self.tree, self.path, "exec")


def fails(name: str, path: pathlib.Path, tree: ast.AST, tests: list[str]) -> bool:
    """Whether the tests fail with the module `name` compiled from `tree`."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    signal.alarm(SECONDS)
    code = 1
    with contextlib.suppress(BaseException):
        mutated = Mutated(name, path, tree)
        mutated.pytest_configure()  # now, and again before a finder that `conftest.py` installs
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[mutated])
    os._exit(int(code != 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("tests", nargs="+", help="files, or other arguments of pytest")
    parser.add_argument("--every", type=int, default=1, help="only every k-th mutant")
    given = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    name = ".".join(given.file.with_suffix("").parts)
    if fails(name, given.file, ast.parse(given.file.read_text()), given.tests):
        sys.exit("the tests fail without a mutant")
    since, killed, total = time.monotonic(), 0, 0
    for i, (line, text, tree) in enumerate(mutants(given.file)):
        if i % given.every:
            continue
        total += 1
        killed += (died := fails(name, given.file, tree, given.tests))
        if not died:
            print(f"{given.file}:{line}: {text}", flush=True)
    print(f"{given.file}: {killed} of {total} killed in {time.monotonic() - since:.0f} s")


if __name__ == "__main__":
    main()
