"""Where a run takes place, and where its compiled programs go."""

import jax
import pytest

from assl_jax.command_line import Options
from assl_jax.environment import command, environment, keep_compiled


@pytest.fixture
def cache_settings():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_in_a_folder(tmp_path, monkeypatch, cache_settings):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    keep_compiled(tmp_path / "compiled")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compiled")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0  # small programs too


def test_a_folder_of_the_user_stays(tmp_path, monkeypatch, cache_settings):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    keep_compiled(tmp_path / "compiled")
    assert jax.config.jax_compilation_cache_dir == before


def test_the_environment_is_flat_and_printable():
    found = environment()
    assert {"assl_jax", "commit", "command", "devices", "jax"} <= set(found)
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize(
    "program, words",
    [
        ("/home/me/venv/bin/assl-jax", "assl-jax"),
        ("/home/me/assl_jax/__main__.py", "python -m assl_jax"),
        ("main.py", "python main.py"),
    ],
)
def test_a_command_can_be_pasted_into_a_shell(monkeypatch, program, words):
    monkeypatch.setattr("sys.argv", [program, "run", "mtassl_volumes", "--config.x=(-20,100)"])
    assert command() == f"{words} run mtassl_volumes '--config.x=(-20,100)'"
    # main.py has one command only; its options are told under the program's name.
    name = "python -m assl_jax" if words == "python main.py" else words
    assert Options("run").format_usage() == f"usage: {name} run [-h]\n"
