"""What a config is told."""

from ml_collections import ConfigDict

from assl_jax.config_reading import typed
from assl_jax.errors import Mistakes


def mistakes_of(config: ConfigDict) -> list[str]:
    """A line for each mistake."""
    try:
        typed(config)
    except Mistakes as error:
        return error.lines
    return []
