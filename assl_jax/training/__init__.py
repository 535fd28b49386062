"""Training: state, compiled step, loop, checkpoints, metrics."""
