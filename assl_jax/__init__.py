"""Aggregative self-supervised feature learning in JAX.

`search` runs an experiment on arrays, `load_backbone` and `load_intensity` read what a run left
behind. Losses, LCKA, tasks and backbones are imported from their modules: `assl_jax.losses`,
`assl_jax.lcka`, `assl_jax.tasks`, `assl_jax.models`. Nothing heavy is imported before it is used.
"""

__version__ = "0.2.0"
__all__ = ["__version__", "load_backbone", "load_intensity", "search"]

_HOMES = {
    "load_backbone": "assl_jax.evaluation.export",
    "load_intensity": "assl_jax.evaluation.export",
    "search": "assl_jax.arrays",
}


def __getattr__(name: str):
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
