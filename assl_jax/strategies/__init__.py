"""Strategies: which tasks to train together, on a cache of finished stages."""
