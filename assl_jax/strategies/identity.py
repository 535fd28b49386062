"""What code a stage depends on: a digest of the definitions that it can reach.

The source is read as syntax trees, so that comments and layout do not count. Docstrings are
removed, and so are the class variables that only a report reads. A definition is a top-level
statement of a module: a function, a class, a constant. It reaches every definition whose name it
mentions, annotations included. For example, an edit to a loss changes the digest only for the tasks
that call it.
"""

import ast
import functools
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from assl_jax.files import digest

PACKAGE = "assl_jax"
ROOT = Path(__file__).parents[1]
# Top-level modules and packages whose code can change a result. Messages, file formats and reports
# cannot.
ROOMS = {
    *("lcka", "losses", "routes", "permutations", "seeds", "ops", "models", "data", "objectives"),
    *("tasks", "training", "evaluation", "strategies"),
}
# The stage cache runs the code of a stage but cannot change its result.
OUTSIDE = {"assl_jax.strategies.stages", "assl_jax.strategies.identity"}
LABELS = {"title", "short", "summary", "colour"}  # class variables for reports, see `ProxyTask`
PACKAGES = ("jax", "flax", "optax")  # their versions can change a number too


class Definition(NamedTuple):
    """A top-level statement of a module, by one of the names that it binds."""

    module: str
    name: str


@functools.cache
def code_digest(*roots: Any) -> str:
    """The digest of all code that `roots` can reach, and of the versions of JAX, Flax and Optax.

    Args:
      roots: functions and classes of this package or of the user's own modules. From a user's
        module, imports are followed into this package, into the same package, and into modules in
        the same folder; what is installed beside it, such as NumPy, is not.
    """
    found = reach(roots)
    sources = sorted((d.module, d.name, _module(d.module).source(d.name)) for d in found)
    return digest({"code": sources, "versions": versions()})


def versions() -> dict[str, str]:
    """The major and minor versions of the packages that can change a result."""
    return {name: ".".join(metadata.version(name).split(".")[:2]) for name in PACKAGES}


@functools.cache
def commit() -> str:
    """The commit of the source tree, marked "-dirty" when it was changed; "" outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def reach(roots: Iterable[Any]) -> set[Definition]:
    """Every definition that the functions and classes in `roots` mention, directly or not."""
    waiting = [Definition(root.__module__, root.__qualname__.split(".")[0]) for root in roots]
    found: set[Definition] = set()
    while waiting:
        definition = waiting.pop()
        if definition not in found:
            found.add(definition)
            waiting += _module(definition.module).mentions(definition.name)
    return found


@functools.cache
def _module(name: str) -> "_Module":
    return _Module(name)


class _Module:
    """The top-level definitions of a module, and the names that it imports."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = _path(name)
        text = self.path.read_text(encoding="utf-8") if self.path else _loaded_source(name)
        tree = _without_words(ast.parse(text))
        inside = self.path is not None and self.path.name == "__init__.py"
        self.imports = dict(_imports(tree, name if inside else name.rpartition(".")[0]))
        self.statements: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []  # statements that bind no name: they always count
        for statement in tree.body:
            names = list(_bound(statement))
            for bound in names:
                self.statements.setdefault(bound, []).append(statement)
            if not names and not isinstance(statement, ast.Import | ast.ImportFrom):
                self.effects.append(statement)
        # Stages share most of their code: each definition is looked at once.
        self.source = functools.cache(self._source)
        self.mentions = functools.cache(self._mentions)

    def _source(self, name: str) -> str:
        """The source of a definition and of the module's effects, in one normal form."""
        statements = [*self.statements.get(name, []), *self.effects]
        return "\n".join(map(ast.unparse, statements))

    def _mentions(self, name: str) -> frozenset[Definition]:
        """The definitions that one definition, or an effect of the module, mentions."""
        return frozenset(
            definition
            for statement in [*self.statements.get(name, []), *self.effects]
            for mentioned in _names(statement)
            for definition in self.resolve(*mentioned)
        )

    def resolve(self, name: str, attribute: str = "") -> Iterator[Definition]:
        """The definitions of `name`; if `name` is a module, those of `name.attribute`."""
        if name in self.statements:
            yield Definition(self.name, name)
        module, member = self.imports.get(name, ("", ""))
        if not self.follows(module):
            return
        if member and _path(f"{module}.{member}"):
            module, member = f"{module}.{member}", ""
        if member:
            yield from _module(module).resolve(member)
        elif self.follows(module):
            # If the module is mentioned without an attribute, count all its definitions.
            for each in [attribute] if attribute else list(_module(module).statements):
                yield from _module(module).resolve(each)

    def follows(self, module: str) -> bool:
        """Whether an imported module counts: see `code_digest`."""
        own, package = self.name.partition(".")[0], module.partition(".")[0]
        if package == PACKAGE or not module:
            return _counts(module)
        if own == PACKAGE or self.path is None:
            return False
        return own == package or _beside(package, _top(self.path, self.name))


def _top(path: Path, name: str) -> Path:
    """The folder that holds the package or module that the module `name` at `path` belongs to."""
    depth = name.count(".") + (path.name == "__init__.py")
    return path.parents[depth]


def _beside(package: str, folder: Path) -> bool:
    """Whether a package lies in a folder of the user's, and not where packages are installed."""
    installed = {"site-packages", "dist-packages"} & set(folder.parts)
    files = (folder / f"{package}.py", folder / package)
    return not installed and any(file.exists() for file in files)


def _counts(module: str) -> bool:
    """Whether a module is of this package and can change a number."""
    parts = module.split(".")
    whole = parts == [PACKAGE]
    return parts[0] == PACKAGE and (whole or parts[1] in ROOMS) and module not in OUTSIDE


def _path(module: str) -> Path | None:
    """The source of a module of this package or of a user's; None if there is none."""
    package, *parts = module.split(".")
    if package != PACKAGE:
        return _users_path(module)
    path = ROOT.joinpath(*parts)
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _users_path(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # `__main__` has no spec
        return None
    path = Path(spec.origin) if spec and spec.has_location and spec.origin else None
    return path if path and path.suffix == ".py" else None


def _loaded_source(module: str) -> str:
    """The source of a user's module; "" where Python keeps none, as in an interactive session."""
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return ""


def _without_words(tree: ast.Module) -> ast.Module:
    """Remove docstrings and the labels of classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.ClassDef):
            node.body = [s for s in node.body if not _is_label(s)] or [ast.Pass()]
    return tree


def _is_label(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.AnnAssign)
        and ast.unparse(statement.annotation).startswith("ClassVar")
        and ast.unparse(statement.target) in LABELS
    )


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each imported name with its module and member; the member is "" for a whole module.

    Relative imports start at `package`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if node.level:
                module = importlib.util.resolve_name(module, package) if package else ""
            for alias in node.names:
                yield alias.asname or alias.name, (module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or name, (name, "")


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds; none for an import (see `_imports`)."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _names(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that a statement mentions, each with the attribute that is taken of it, or ""."""
    owners = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owners.add(node.value)
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in owners:
            yield node.id, ""
