"""Where a run takes place: versions, devices, commit and command, and what was compiled there."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Flat and printable."""
    import jax

    import assl_jax

    devices = jax.devices()
    return {
        "assl_jax": assl_jax.__version__,
        "commit": _commit(),
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        **{name: metadata.version(name) for name in PACKAGES},
    }


def keep_compiled(folder: Path) -> None:
    """Let JAX keep what it compiles in `folder`, for this and later runs.

    A folder that is set already, in `JAX_COMPILATION_CACHE_DIR`, stays.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _commit() -> str:
    """The commit of the source tree, marked where it has been changed; empty outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
