"""Do three runs still give the tables that are on record, to the last digit?

    python -m benchmarks.reference [digits phantom3d table4] [--write]

A change of the code that should change no number is checked by them. The tables lie in
`reference/`, with the version of JAX and the instruction set that they are true for. Writes the
runs to `runs/reference/`; `--write` replaces the tables on record, and a missing one is written.
"""

import argparse
import difflib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from assl_jax.environment import environment

CONFIGS = {  # name: the config, and its settings
    "digits": ("mtassl_digits",),  # as in the README
    "phantom3d": ("mtassl_phantom3d", "--config.pretrain.steps=600"),
    "table4": (
        "table4:digits",
        "--config.tasks=jigsaw,sc_assl,simclr",
        "--config.pretrain.steps=60",
        "--config.target.steps=20",
        "--config.self_assl.second_run=True",
    ),
}
RECORDS = Path(__file__).parent / "reference"
RUNS = Path("runs") / "reference"


def tables(name: str) -> list[str]:
    """The rows of all tables of a run's report, which is run now, with its stages computed anew."""
    config, *settings = CONFIGS[name]
    workdir = RUNS / name / "run"
    shutil.rmtree(workdir.parent, ignore_errors=True)
    command = [sys.executable, "-m", "assl_jax", "run", config, f"--workdir={workdir}", *settings]
    subprocess.run(command, check=True)
    lines = (workdir / "report" / "tables.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("|")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--write", action="store_true", help="replace the tables on record")
    given = parser.parse_args()
    here = {key: environment()[key] for key in ("jax", "instruction_set")}
    wrong = []
    for name in given.names or CONFIGS:
        found, file = tables(name), RECORDS / f"{name}.md"
        if given.write or not file.exists():
            RECORDS.mkdir(exist_ok=True)
            file.write_text("\n".join([json.dumps(here), *found, ""]), encoding="utf-8")
            continue
        header, *kept = file.read_text(encoding="utf-8").splitlines()
        changed = [f"{json.loads(header)} is on record, here is {here}"] * (
            header != json.dumps(here)
        )
        changed += difflib.unified_diff(kept, found, "on record", "now", n=0, lineterm="")
        print(f"{name}: {'equal' if not changed else 'different'}", *changed, sep="\n")
        wrong += [name] if changed else []
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
