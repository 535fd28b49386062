"""Aggregative self-supervised feature learning in JAX.

`load_backbone` and `load_intensity` read what a run left behind. Losses, LCKA, tasks and backbones
are imported from their modules: `assl_jax.losses`, `assl_jax.lcka`, `assl_jax.tasks`,
`assl_jax.models`. Nothing heavy is imported before it is used.
"""

__version__ = "0.2.0"
__all__ = ["__version__", "load_backbone", "load_intensity"]


def __getattr__(name: str):
    if name in ("load_backbone", "load_intensity"):
        from assl_jax.evaluation import export

        return getattr(export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
