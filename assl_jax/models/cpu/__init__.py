"""Faster forms of a few operations for CPUs, and the one switch that chooses between forms.

Each of these operations has two forms that agree up to rounding: a plain one of `jax.lax` or Flax,
for GPUs and TPUs, and one for CPUs. `choose` takes the CPU form when a program is lowered for a
CPU. The devices of the process that lowers it do not matter, so any machine can export a program
for any platform.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax import lax

_forms = jax.make_user_context("auto")


def plain_forms() -> AbstractContextManager[None]:
    """A context in which every operation takes its plain form, on CPUs too.

    Use it to export a program to a tool that knows plain operations only, or to debug a CPU form.
    JAX traces a function again inside the context, even if it has traced it outside.
    """
    return _forms("plain")


def choose(plain: Callable, on_cpu: Callable, *args: Any, **static: Any) -> Any:
    """`on_cpu(*args, **static)` in a program for a CPU, `plain(*args, **static)` in any other.

    JAX traces both, so they must return the same shapes and types. XLA receives only the form that
    was chosen. Pass functions that live as long as the module: JAX traces those once for each
    shape, and a lambda in every call. `static` are hashable settings.
    """
    settings = tuple(sorted(static.items()))
    if _forms.value == "plain":
        return _with(plain, settings)(*args)
    return lax.platform_dependent(
        *args, cpu=_with(on_cpu, settings), default=_with(plain, settings)
    )


@functools.cache
def _with(function: Callable, settings: tuple[tuple[str, Any], ...]) -> Callable:
    return functools.partial(function, **dict(settings))


def materialise(x: jax.Array) -> jax.Array:
    """`x`. On a CPU XLA computes it once, even if several operations read it.

    Otherwise XLA repeats the computation of `x` in every fused loop that reads it.
    """
    return choose(_same, lax.optimization_barrier, x)


def _same(x: jax.Array) -> jax.Array:
    return x


def compiler_options(platform: str) -> dict[str, Any] | None:
    """Options for `jax.jit` of a function that trains or runs a backbone on devices of a platform.

    None, but for a CPU. There 2D convolutions go to Eigen, because XLA's default, YNNPACK, takes
    nearly twice as long. And optimisation barriers stay: by default XLA removes them, and then
    repeats the computation behind a barrier for every reader, or keeps what `jax.checkpoint` is
    meant to recompute (docs/performance.md).
    """
    if platform != "cpu":
        return None
    return {
        # Not "LIBRARY_FUSION_TYPE_DOT": with it the gradient of unbiased linear CKA crashes.
        "xla_cpu_experimental_ynn_fusion_type": "",
        "xla_disable_hlo_passes": "cse_barrier_expander",
    }
