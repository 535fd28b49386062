"""The environment of a run: versions, devices, commit, command; and its compiled programs."""

import contextlib
import os
import platform
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PLATFORMS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")  # variables that tell JAX what to use
EXTRAS = {"cuda": "jax[cuda13]", "gpu": "jax[cuda13]", "tpu": "jax[tpu]"}  # by platform
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Versions, devices, commit and command, as text by name."""
    import jax

    import assl_jax
    from assl_jax.strategies.identity import commit

    devices = jax.devices()
    return {
        "assl_jax": assl_jax.__version__,
        "commit": commit(),
        "command": command(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "instruction_set": instruction_set(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def instruction_set() -> str:
    """The widest vector instructions of the processor, on which the last digits of results depend.

    For example "x86_64 avx512f"; with the limit that `XLA_FLAGS` sets, if any.
    """
    words: set[str] = set()
    with contextlib.suppress(OSError):  # other systems than Linux
        words = {*Path("/proc/cpuinfo").read_text(encoding="utf-8").split()}
    limit = re.findall(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    widest = [*limit[-1:], *(name for name in ("avx512f", "avx2", "asimd") if name in words)]
    return " ".join([platform.machine(), *widest[:1]])


def program() -> str:
    """How this program is called: by its name where that was done, which needs an installation."""
    name = Path(sys.argv[0]).stem
    return name if name == "assl-jax" else "python -m assl_jax"


def command() -> str:
    """The command of this process as a shell takes it, without the folder of the program."""
    program = Path(sys.argv[0]).name
    words = {"__main__.py": "python -m assl_jax", "main.py": "python main.py"}
    return " ".join([words.get(program, program), *map(shlex.quote, sys.argv[1:])])


def missing_platform() -> str | None:
    """What is wrong with the platforms that the variables of the environment name, if anything."""
    variable = next((name for name in PLATFORMS if os.environ.get(name)), None)
    if variable is None:
        return None
    import jax
    from jax.extend.backend import backends

    try:
        jax.devices()
        return None
    except Exception:  # JAX has no common type: also an AssertionError
        jax.config.update("jax_platforms", None)
        jax.config.update("jax_platform_name", None)
    named = os.environ[variable]
    extra = next((EXTRAS[name] for name in named.split(",") if name in EXTRAS), None)
    install = f", or, where the device is, pip install '{extra}'" if extra else ""
    return (
        f"{variable}={named}: JAX has no such device here (it has {', '.join(backends())}); "
        f"unset {variable}{install}"
    )


def keep_compiled(folder: Path) -> None:
    """Let JAX keep what it compiles in `folder`, for this and later runs.

    A folder that is set already, in `JAX_COMPILATION_CACHE_DIR`, stays.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
        # The many small programs take a sixth of the time of a short run.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
