"""The forms of a convolution on a CPU, forward and backward.

    python -m benchmarks.convolution [--repeats 7]

Times XLA's convolution as JAX compiles it by default, and every form of
`assl_jax/models/cpu/convolution.py` that the shape allows. Prints a table and writes
convolution.json. The bounds in that file come from this table.
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp

from assl_jax.models.conv import plain_convolve
from assl_jax.models.cpu import compiler_options, convolution
from benchmarks.side_by_side import table, write

# batch, space, input channels, output channels, kernel, stride
SHAPES = [
    (64, (32, 32), 3, 16, 3, 1),
    (64, (32, 32), 16, 16, 3, 1),
    (64, (32, 32), 16, 32, 3, 2),
    (64, (16, 16), 32, 32, 3, 1),
    (64, (8, 8), 64, 64, 3, 1),
    (64, (4, 4), 128, 128, 3, 1),
    (64, (4, 4), 512, 512, 3, 1),
    (16, (96, 96), 3, 64, 7, 2),
    (32, (12, 12), 128, 128, 3, 1),
    (32, (6, 6), 256, 256, 3, 1),
    (32, (3, 3), 512, 512, 3, 1),
    (16, (24, 24), 64, 64, 3, 1),
    (16, (24, 24), 64, 128, 3, 2),
    (16, (12, 12), 128, 128, 3, 1),
    (16, (12, 12), 128, 256, 3, 2),
    (16, (6, 6), 256, 256, 3, 1),
    (16, (6, 6), 256, 512, 3, 2),
    (16, (3, 3), 512, 512, 3, 1),
    (8, (28, 28, 28), 1, 64, 7, 2),
    (8, (28, 28, 28), 1, 16, 3, 2),
    (8, (14, 14, 14), 16, 16, 3, 1),
    (8, (7, 7, 7), 64, 64, 3, 1),
    (8, (7, 7, 7), 64, 128, 3, 2),
    (8, (4, 4, 4), 128, 128, 3, 1),
    (8, (2, 2, 2), 256, 256, 3, 1),
]


def gradient(form, stride, image: bool, options: dict):
    """Jitted forward and gradients of one convolution.

    Args:
      form: the convolution.
      stride: one number per spatial axis.
      image: whether the image gets a gradient; in a first layer it needs none.
      options: of the compiler.
    """

    def run(x, k, dy):
        y, pull = jax.vjp(lambda *a: form(*((x, *a)[-2:]), stride), *((x, k) if image else (k,)))
        return y, pull(dy)

    return jax.jit(run, compiler_options=options)


def measure(repeats: int) -> list[dict]:
    """Medians of interleaved repeats, in milliseconds."""
    rows = []
    for batch, space, c, d, kernel, stride in SHAPES:
        rank = len(space)
        x = jax.random.normal(jax.random.key(0), (batch, *space, c))
        k = jax.random.normal(jax.random.key(1), (*(kernel,) * rank, c, d))
        strides = (stride,) * rank
        dy = jnp.ones(jax.eval_shape(lambda x, k, s=strides: plain_convolve(x, k, s), x, k).shape)
        image, options = c > 3, compiler_options(jax.default_backend())
        names = [f for f in convolution.FORMS if f != "winograd" or (kernel, stride) == (3, 1)]
        forms = {
            name: gradient(
                functools.partial(convolution.convolve, form=name), strides, image, options or {}
            )
            for name in names
        }
        if rank == 2 or stride == 1:  # XLA takes minutes for the others
            forms = {"XLA's default": gradient(plain_convolve, strides, image, {}), **forms}
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(repeats + 1):
            for name, form in forms.items():
                began = time.perf_counter()
                jax.block_until_ready(form(x, k, dy))
                times[name].append(1e3 * (time.perf_counter() - began))
        median = {name: statistics.median(t[1:]) for name, t in times.items()}  # turn 0 compiles
        chosen = convolution.best_form(x.shape, k.shape, strides)
        default = median.get("XLA's default")
        rows.append(
            {
                "shape": f"{batch}x{'x'.join(map(str, space))} {c}->{d} k{kernel} s{stride}",
                "XLA's default (ms)": default,
                **{f"{name} (ms)": median.get(name) for name in convolution.FORMS},
                "chosen": chosen,
                "default / chosen": default and default / median[chosen],
            }
        )
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", default="convolution.json")
    args = parser.parse_args()
    rows = measure(args.repeats)
    print("\n" + table(rows))
    write(args.json, rows)


if __name__ == "__main__":
    main()
