"""Do runs still give what is on record, to the last digit, and do the documents tell of them?

    python -m benchmarks.reference [digits digits1 … digits4 phantom3d table4] [--write]

A change of the code that should change no number is checked by these runs. Their tables lie in
`reference/`, with the version of JAX and the instruction set that they are true for; those of the
digits with the scores that the search has read. Writes the runs to `runs/reference/`; `--write`
replaces what is on record and what the documents tell of it (see `benchmarks.documents`), and a
missing one is written.
"""

import argparse
import difflib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from assl_jax.environment import environment
from assl_jax.records import RESULTS, Results, read
from assl_jax.store import LocalStore
from benchmarks import documents, replay

CONFIGS = {  # name: the config, and its settings
    **documents.DIGITS,
    "phantom3d": (
        "mtassl_phantom3d",
        "pretrain.steps=60",
        "target.steps=20",
    ),
    "table4": (
        "table4:digits",
        "tasks=jigsaw,sc_assl,simclr",
        "pretrain.steps=60",
        "pretrain.budget=steps",
        "target.steps=20",
        "self_assl.second_run=True",
    ),
}
RUNS = Path("runs") / "reference"


def tables(name: str) -> list[str]:
    """The rows of all tables of a run's report, which is run now, with its stages computed anew."""
    config, *settings = CONFIGS[name]
    workdir = RUNS / name / "run"
    shutil.rmtree(workdir.parent, ignore_errors=True)
    command = [sys.executable, "-m", "assl_jax", "run", config, f"--workdir={workdir}"]
    subprocess.run([*command, *(f"--config.{each}" for each in settings)], check=True)
    lines = (workdir / "report" / "tables.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("|")]


def write(name: str, header: str, rows: list[str]) -> None:
    """Put a run on record; one of the digits with what the search has read and found."""
    documents.RECORDS.mkdir(exist_ok=True)
    file = documents.RECORDS / f"{name}.md"
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    if name in documents.DIGITS:
        run = replay.run_of(*CONFIGS[name], store=LocalStore(RUNS / name / "stages"))
        results = read(RUNS / name / "run" / RESULTS, Results)
        found = documents.found_by(run, results, environment())
        networks = [each.network for each in results.networks]
        scores = replay.scores_of(run.evidences[0], networks)
        replay.write(file.with_suffix(".npz"), scores, {"found": msgspec.to_builtins(found)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--write", action="store_true", help="replace what is on record")
    given = parser.parse_args()
    here = json.dumps({key: environment()[key] for key in ("jax", "instruction_set")})
    wrong, written = [], False
    for name in given.names or CONFIGS:
        found, file = tables(name), documents.RECORDS / f"{name}.md"
        if given.write or not file.exists():
            write(name, here, found)
            written = True
            continue
        header, *kept = file.read_text(encoding="utf-8").splitlines()
        changed = [f"{header} is on record, here is {here}"] * (header != here)
        changed += difflib.unified_diff(kept, found, "on record", "now", n=0, lineterm="")
        print(f"{name}: {'equal' if not changed else 'different'}", *changed, sep="\n")
        wrong += [name] if changed else []
    if written:
        documents.update()
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
