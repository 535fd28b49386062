"""Strict settings for every test: 8 CPU devices, no silent broadcasting, shapes checked.

`pyproject.toml` turns warnings into errors. `JAX_PLATFORMS` may name another platform.
"""

import os

DEVICES = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402  reads the environment above when it is imported
import jaxtyping  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# Before anything imports them: a call whose arrays do not fit the annotations raises. An int is
# welcome where a float is asked for (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook(
    ["assl_jax.lcka", "assl_jax.losses", "assl_jax.ops", "assl_jax.routes"], CHECKER
)
