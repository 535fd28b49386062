"""Start with a folder of very many images: seconds and peak memory.

    python -m benchmarks.many_images [--images=100000,1000000] [--side=32] [--folder=FOLDER]

Writes JPEG files like photographs (2,000 different ones, copied under other names) and 600 labelled
ones. Reads them as a run does, first into a cache, and then twice from there.
Each time has a process of its own. The folder needs about 4 kB for each image, and the cache the
pixels; both are removed at the end. Writes many_images.json.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import table, write

DIFFERENT = 2000
LABELLED = {"train": 100, "test": 200}  # images of each of two classes


def make(folder: Path, n: int, side: int) -> None:
    """Write the folder: `n` images without labels, and the labelled ones."""
    from PIL import Image

    rng = np.random.default_rng(0)
    contents = []
    for coarse in rng.integers(0, 256, (DIFFERENT, side // 4, side // 4, 3), dtype=np.uint8):
        file = io.BytesIO()
        Image.fromarray(coarse).resize((side, side)).save(file, "JPEG", quality=90)
        contents.append(file.getvalue())
    for split, count in LABELLED.items():
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                (folder / split / name / f"{i}.jpg").write_bytes(contents[i])
    unlabeled = folder / "unlabeled"
    unlabeled.mkdir()
    for i in range(n):
        with open(f"{unlabeled}/{i:07}.jpg", "wb") as out:
            out.write(contents[i % DIFFERENT])


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """In a worker: read the folder, and say what is odd about it."""
    from assl_jax.data import load
    from assl_jax.data.summary import summarise

    before, began = peak(), time.perf_counter()
    dataset = load("folder", path=str(folder), cache=str(cache))
    read, memory = time.perf_counter(), peak()
    summarise(dataset)
    dataset.fingerprint(dataset.unlabeled)
    return {
        "folder and cache (s)": read - began,
        "summary and identity (s)": time.perf_counter() - read,
        "memory: imports (MB)": before,
        "after reading (MB)": memory,
        "at the end, mapped pages included (MB)": peak(),
    }


def peak() -> float:
    """Largest memory of this process so far, in MB (from KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="100000,1000000")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--folder", default=None, help="where temporary files go")
    parser.add_argument("--json", default="many_images.json")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(Path(args.worker, "images"), Path(args.worker, "cache"))))
        return
    rows: list[dict[str, Any]] = []
    for n in map(int, args.images.split(",")):
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            make(Path(name, "images"), n, args.side)
            for start in ("first", "later", "later"):
                command = [sys.executable, "-m", "benchmarks.many_images", f"--worker={name}"]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.append({"images": n, "start": start, **json.loads(done.stdout)})
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    write(args.json, rows, side=args.side)
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
