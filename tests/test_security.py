"""What no input can do: run code, write elsewhere, or make the program call another machine."""

import ast
import socket
from pathlib import Path

import pytest

import assl_jax

PACKAGE = Path(assl_jax.__file__).parent
FILES = list(PACKAGE.rglob("*.py"))
# They run what a file holds, or reach another machine.
MODULES = {
    *("pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"),
    *("socket", "urllib", "http", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "xmlrpc"),
}
CALLS = {"eval", "exec", "system", "popen", "extract", "extractall", "unpack_archive"}
ALLOWED = {
    ("config_files.py", "exec()"),  # the config that the user names
    ("signals.py", "socket"),  # a pair inside the process
    ("training/processes.py", "socket"),  # the coordinator that the user names
}


def named(tree):
    """The modules that a file imports and the functions that it calls, with true options."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call):
            call = node.func
            yield f"{call.attr if isinstance(call, ast.Attribute) else getattr(call, 'id', '')}()"
            for option in node.keywords:
                if isinstance(option.value, ast.Constant) and option.value.value is True:
                    yield f"{option.arg}=True"


FORBIDDEN = MODULES | {f"{name}()" for name in CALLS} | {"allow_pickle=True", "shell=True"}


def test_no_file_can_run_foreign_code_or_reach_another_machine():
    found = {
        (str(file.relative_to(PACKAGE)), name)
        for file in FILES
        for name in set(named(ast.parse(file.read_text()))) & FORBIDDEN
    }
    assert len(FILES) > 100 and found == ALLOWED


@pytest.mark.parametrize(
    "text, found",
    [
        ("import pickle", "pickle"),
        ("from urllib.request import urlopen", "urllib"),
        ("np.load(f, allow_pickle=True)", "allow_pickle=True"),
        ("tar.extractall('.')", "extractall()"),
        ("eval(text)", "eval()"),
    ],
)
def test_what_is_forbidden_is_found(text, found):
    assert found in set(named(ast.parse(text))) & FORBIDDEN


def test_tests_cannot_reach_another_machine():
    """All tests run so, whole searches among them: see `no_network`."""
    with pytest.raises(ConnectionRefusedError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(ConnectionRefusedError, match="no network"):
        socket.getaddrinfo("example.org", 443)
