"""XLA's convolution against patches and one matrix product, forward and backward.

    python -m benchmarks.convolution [--repeats 7]

Prints a table and writes convolution.json. The bounds in `assl_jax/models/conv.py` come from it.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from assl_jax.models import conv

# batch, space, input channels, output channels, kernel, stride
SHAPES = [
    (64, (32, 32), 3, 16, 3, 1),
    (64, (32, 32), 16, 16, 3, 1),
    (64, (32, 32), 64, 64, 3, 1),
    (64, (32, 32), 16, 32, 3, 2),
    (64, (16, 16), 32, 32, 3, 1),
    (64, (16, 16), 128, 128, 3, 1),
    (64, (8, 8), 64, 64, 3, 1),
    (64, (8, 8), 256, 256, 3, 1),
    (64, (4, 4), 512, 512, 3, 1),
    (320, (12, 12), 16, 16, 3, 1),
    (320, (3, 3), 64, 64, 3, 1),
    (8, (96, 96), 3, 64, 7, 2),
    (4, (16, 16, 16), 32, 32, 3, 1),
    (4, (8, 8, 8), 64, 64, 3, 1),
]


def gradient(form, stride):
    """Jitted forward and both gradients of one convolution."""
    return jax.jit(jax.grad(lambda x, k: jnp.sum(form(x, k, stride) ** 2), argnums=(0, 1)))


def measure(repeats: int) -> list[dict]:
    """Medians of interleaved repeats, in milliseconds."""
    rows = []
    for batch, space, c, d, kernel, stride in SHAPES:
        rank = len(space)
        x = jax.random.normal(jax.random.key(0), (batch, *space, c))
        k = jax.random.normal(jax.random.key(1), (*(kernel,) * rank, c, d))
        strides = (stride,) * rank
        forms = {
            "xla": gradient(conv._xla, strides),
            "patches": gradient(conv._patches_matmul, strides),
        }
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(repeats + 1):
            for name, form in forms.items():
                began = time.perf_counter()
                jax.block_until_ready(form(x, k))
                times[name].append(1e3 * (time.perf_counter() - began))
        median = {name: statistics.median(t[1:]) for name, t in times.items()}  # first: compiling
        chosen = "patches" if conv.prefers_patches(x.shape, k.shape, strides) else "xla"
        ratio = median["xla"] / median["patches"]
        shape = f"{batch}x{'x'.join(map(str, space))} {c}->{d} k{kernel} s{stride}"
        rows.append({"shape": shape, **median, "xla/patches": ratio, "chosen": chosen})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    rows = measure(parser.parse_args().repeats)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    print("| shape | XLA (ms) | patches (ms) | XLA / patches | chosen |\n|---|---|---|---|---|")
    for r in rows:
        times = f"{r['xla']:.1f} | {r['patches']:.1f} | {r['xla/patches']:.2f}"
        print(f"| {r['shape']} | {times} | {r['chosen']} |")
    Path("convolution.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
