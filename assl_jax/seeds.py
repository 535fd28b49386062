"""The seeds of a run: one for each purpose, all derived from the seed of the config."""

from assl_jax.files import digest


def derived(seed: int, *purpose: str | int) -> int:
    """A seed of its own for a purpose, 0 to 2^31 - 1, which every generator takes.

    Two purposes share a seed with a probability of 2^-31: there are no ranges that could overlap.

    Args:
      seed: of the run.
      purpose: what is drawn, in words and numbers, as in `"fold", 2`.
    """
    return int(digest([seed, *purpose])[:8], 16) >> 1
