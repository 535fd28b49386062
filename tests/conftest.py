"""Strict settings for every test: 8 CPU devices, no silent broadcasting, shapes checked.

`pyproject.toml` turns warnings into errors. `JAX_PLATFORMS` may name another platform.
"""

import os
import pathlib
from importlib import metadata

# Tests compile much and compute little. Without optimisations, and with XLA's older code for fused
# operations while it has it, they take half of the time.
FLAGS = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)
if metadata.version("jaxlib").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Workers, and the programs that tests start, share what they compile.
CACHE = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import functools  # noqa: E402  jax reads the environment above when it is imported
import math  # noqa: E402  as above
import socket  # noqa: E402  as above

import hypothesis  # noqa: E402  as above
import jax  # noqa: E402  as above
import jaxtyping  # noqa: E402  as above
import numpy as np  # noqa: E402  as above
import pytest  # noqa: E402  as above

jax.config.update("jax_numpy_rank_promotion", "raise")

# Before anything imports them: a call whose arrays do not fit the annotations raises. An int is
# welcome where a float is asked for (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook(
    ["assl_jax.lcka", "assl_jax.losses", "assl_jax.ops", "assl_jax.routes"], CHECKER
)


# Properties: the same few examples in every run, or many others with `--hypothesis-profile=many`.
COMMON = {"deadline": None, "database": None}
# The few are not shrunk, because that takes minutes.
PHASES = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
FEW = {"max_examples": 12, "derandomize": True, "phases": PHASES}
hypothesis.settings.register_profile("few", **FEW, **COMMON)
hypothesis.settings.register_profile("many", max_examples=2000, **COMMON)
hypothesis.settings.load_profile("few")


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """A test that calls another machine fails."""
    connect, lookup = socket.socket.connect, socket.getaddrinfo

    def refuse(host):
        if host not in ("127.0.0.1", "::1", "localhost", None):
            raise ConnectionRefusedError(f"no network in tests: {host}")

    def local_connect(self, address):
        if self.family != socket.AF_UNIX:
            refuse(address[0])
        return connect(self, address)

    def local_lookup(host, *arguments, **options):
        refuse(host)
        return lookup(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_connect)
        patch.setattr(socket, "getaddrinfo", local_lookup)
        yield


@pytest.fixture(scope="session")
def quick_jit():
    """`jax.jit` for what runs once: without optimisations it compiles faster."""
    options = {"xla_backend_optimization_level": 0}
    return functools.partial(jax.jit, compiler_options=options)


@pytest.fixture(scope="session")
def toy():
    """A tiny network, two toy tasks and helpers, as attributes."""
    from toy_training import Toy

    return Toy


@pytest.fixture(scope="session")
def drawn():
    """`drawn(init, *arguments)`: variables of the shapes that `init(key, *arguments)` gives.

    Kernels are scaled normals, other leaves near 1 (scales and variances) or 0. Nothing is
    compiled, where an initialiser costs seconds.
    """

    def leaf(path, shape):
        x = np.random.default_rng(math.prod(shape.shape)).standard_normal(shape.shape)
        if x.ndim > 1:
            x = x * (2 / math.prod(shape.shape[:-1])) ** 0.5
        else:
            x = 0.1 * x + (path[-1].key in ("scale", "var"))
        return x.astype(shape.dtype)

    def draw(init, *arguments):
        shapes = jax.eval_shape(init, jax.random.key(0), *arguments)
        return jax.tree_util.tree_map_with_path(leaf, shapes)

    return draw
