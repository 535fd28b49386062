"""The similarity matrix of six tasks compared with one plain matrix product, and its memory.

    python -m benchmarks.lcka [--n=100000] [--d=512] [--tasks=6] [--repeats=5]
    python -m benchmarks.lcka --n=8000 --d=64 --memory_n=8000,80000     # in seconds

Prints two tables and writes lcka.json. All forms compute in float32 and start from finished
features, in host memory or on the device. The product is X^T X of all features, which already lie
in one array. PyTorch's form is the mini-batch CKA of Nguyen et al. 2021: an average of estimates
from 256 samples each, and not the value for all samples. It needs
`pip install -r benchmarks/requirements.txt`.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import compare, serve, spread, table, write

OURS, PRODUCT, TORCH, NUMPY = "assl_jax", "JAX product", "PyTorch mini-batches", "NumPy product"
FORMS = (
    *((OURS, "host"), (PRODUCT, "host"), (OURS, "device"), (PRODUCT, "device")),
    *((TORCH, "device"), (NUMPY, "host")),
)
BATCH = 256
CHUNK = 4096  # rows of one update of a stream


def features(n: int, d: int, tasks: int, seed: int = 0) -> np.ndarray:
    """`[n, tasks, d]` float32; half of the variance of every feature is shared by all tasks."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, tasks, d), np.float32)
    x += rng.standard_normal((n, 1, d), np.float32)
    return x


def minibatch_hsic(x: Any, off_diagonal: Any) -> Any:
    """Unbiased HSIC (Song et al. 2012) `[k, k]` of every pair of k tasks in one mini-batch.

    Args:
      x: `[k, b, d]`, an array of NumPy or PyTorch.
      off_diagonal: `[b, b]` ones with zeros on the diagonal, of the same library.
    """
    k, b = x.shape[:2]
    gram = (x @ x.swapaxes(-1, -2)) * off_diagonal
    rows = gram.sum(-1)
    total = rows.sum(-1)
    flat = gram.reshape(k, -1)
    whole = flat @ flat.T + total[:, None] * total[None] / ((b - 1) * (b - 2))
    return (whole - rows @ rows.T * (2 / (b - 2))) / (b * (b - 3))


def minibatch_cka(hsic: Any) -> Any:
    """CKA `[k, k]` from HSIC summed over mini-batches (Nguyen et al. 2021, Eq. 2)."""
    own = hsic.diagonal()
    return hsic / (own[:, None] * own[None]) ** 0.5


def work_of_torch(x: np.ndarray) -> Callable[[], Any]:
    """Mini-batches of 256 on PyTorch's device."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    stored = torch.from_numpy(x.transpose(1, 0, 2)).contiguous().to(device)
    batch = min(BATCH, len(x))
    off_diagonal = 1 - torch.eye(batch, device=device)

    def work() -> Any:
        whole = stored.shape[1] // batch * batch
        batches = stored[:, :whole].split(batch, dim=1)
        return minibatch_cka(sum(minibatch_hsic(x, off_diagonal) for x in batches)).cpu()

    return work


def work_of_jax(x: np.ndarray, form: str, source: str) -> Callable[[], Any]:
    """Our similarity matrix as a search computes it, or the plain product."""
    import jax

    from assl_jax.lcka import lcka_matrix

    def put(a: np.ndarray) -> Any:
        return jax.device_put(a) if source == "device" else a

    if form == OURS:
        each = [put(np.ascontiguousarray(x[:, i])) for i in range(x.shape[1])]
        return lambda: np.asarray(lcka_matrix(each, estimator="unbiased"))
    stacked = put(x.reshape(len(x), -1))
    product = jax.jit(lambda z: jax.numpy.matmul(z.T, z, precision=jax.lax.Precision.HIGHEST))
    return lambda: jax.block_until_ready(product(stacked))


def answer(form: str, source: str, n: int, d: int, tasks: int) -> None:
    """In a worker: run one form on each request."""
    x = features(n, d, tasks)
    if form == TORCH:
        work = work_of_torch(x)
    elif form == NUMPY:
        z = x.reshape(n, -1)
        work = lambda: z.T @ z  # noqa: E731 - one of four functions without arguments
    else:
        work = work_of_jax(x, form, source)
    del x
    found = work()
    serve(work, similarity=float(found[0, 1]) if form in (OURS, TORCH) else None)


def times(n: int, d: int, tasks: int, repeats: int) -> list[dict[str, Any]]:
    """Each form's time, and its ratio to JAX's product with features in the same memory."""
    options = [f"--n={n}", f"--d={d}", f"--tasks={tasks}"]
    forms = [f for f in FORMS if f[0] != TORCH or importlib.util.find_spec("torch")]
    names = {f"{form}, {source}": (form, source) for form, source in forms}
    found = compare(
        {
            name: ["benchmarks.lcka", f"--worker={form}", f"--source={source}", *options]
            for name, (form, source) in names.items()
        },
        repeats,
    )
    rows = []
    for form, source in FORMS:
        row: dict[str, Any] = {"form": form, "features in": source}
        if (form, source) in forms:
            result = found[f"{form}, {source}"]
            plain = found[f"{PRODUCT}, {source}"]["times"]
            ratio = spread([a / b for a, b in zip(result["times"], plain, strict=True)])
            row |= {
                "time (s)": result["median"],
                "quartiles": f"{result['low']:.3g} to {result['high']:.3g}",
                "time / JAX product": ratio["median"],
                "ratio's quartiles": f"{ratio['low']:.3g} to {ratio['high']:.3g}",
                "similarity": result["similarity"],
                "times": result["times"],
            }
        rows.append(row)
    return rows


def growth(form: str, n: int, d: int, tasks: int) -> dict[str, Any]:
    """In a worker: how far the peak of resident memory rises above that before, in GB (Linux)."""
    import jax

    from assl_jax.lcka import _CHUNK_ROWS, lcka_init, lcka_matrix, lcka_result, lcka_update

    update = jax.jit(lcka_update)

    def chunks(n: int) -> Any:
        for start in range(0, n, CHUNK):
            x = features(min(CHUNK, n - start), d, tasks, seed=start)
            yield [x[:, i] for i in range(tasks)]

    def streamed(n: int) -> Any:
        state = lcka_init([d] * tasks)
        for chunk in chunks(n):
            # Wait: otherwise chunks would pile up while the device computes.
            state = jax.block_until_ready(update(state, chunk))
        return np.asarray(lcka_result(state, estimator="unbiased"))

    def one_shot(x: list[np.ndarray]) -> Any:
        return np.asarray(lcka_matrix(x, estimator="unbiased"))

    # Compile for both sizes of a chunk first, because compilation does not count.
    given = []
    if form == "stream":
        streamed(min(n, CHUNK + n % CHUNK))
    else:
        rng = np.random.default_rng(0)
        given = [rng.standard_normal((n, d), np.float32) for _ in range(tasks)]
        one_shot([x[: _CHUNK_ROWS + n % _CHUNK_ROWS] for x in given])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _memory("VmRSS")
    found = streamed(n) if form == "stream" else one_shot(given)
    stats = jax.devices()[0].memory_stats() or {}
    device = stats.get("peak_bytes_in_use")
    return {
        "n": n,
        "form": "init, update, result" if form == "stream" else "lcka_matrix",
        "features (GB)": n * d * tasks * 4 / 1e9,
        "of these in memory": "one chunk" if form == "stream" else "all",
        "peak above that before (GB)": _memory("VmHWM") - before,
        "peak of the process (GB)": _memory("VmHWM"),
        "device's peak (GB)": device and device / 1e9,
        "finite": bool(np.isfinite(found).all()),
    }


def _memory(field: str) -> float:
    """A field of this process's `/proc` status, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) * 1024 / 1e9


def memory(sizes: list[int], d: int, tasks: int) -> list[dict[str, Any]]:
    """Peak memory for each n, each in its own process; nothing for features that do not fit."""
    rows = []
    for form in ("stream", "matrix"):
        for n in sizes:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            if form == "matrix" and n * d * tasks * 4 > free / 2:
                rows.append({"n": n, "form": "lcka_matrix", "features (GB)": n * d * tasks * 4e-9})
                continue
            command = [sys.executable, "-m", "benchmarks.lcka", f"--memory={form}"]
            command += [f"--n={n}", f"--d={d}", f"--tasks={tasks}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="samples")
    parser.add_argument("--d", type=int, default=512, help="features per task")
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory_n", default="10000,100000,1000000")
    parser.add_argument("--json", default="lcka.json")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--source", default="", help=argparse.SUPPRESS)
    parser.add_argument("--memory", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = (args.n, args.d, args.tasks)
    if args.worker:
        answer(args.worker, args.source, *size)
        return
    if args.memory:
        print(json.dumps(growth(args.memory, *size)))
        return
    rows = times(*size, args.repeats)
    print(table([{k: v for k, v in row.items() if k != "times"} for row in rows]), flush=True)
    if not importlib.util.find_spec("torch"):
        print("\nPyTorch is missing: pip install -r benchmarks/requirements.txt")
    sizes = [int(n) for n in args.memory_n.split(",")]
    used = memory(sizes, args.d, args.tasks)
    print("\n" + table(used))
    write(args.json, rows, n=args.n, d=args.d, tasks=args.tasks, memory=used)


if __name__ == "__main__":
    main()
