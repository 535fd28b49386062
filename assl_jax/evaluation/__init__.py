"""Judging a backbone: features, fine-tuning, and the exported network."""
