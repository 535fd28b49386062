"""Files of a finished run that are damaged: the same command repairs all of them.

pytest -m soak tests/runs/test_runs_damage.py
"""

import re
import shutil

import pytest
from whole_runs import small

from assl_jax.config_reading import typed
from assl_jax.experiment import run


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": flipped,
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "other bytes": lambda path: path.write_bytes(b"\xff\x00[" * 50),
}


def kind_of(path):
    """Files that differ only in digits, digests and the network of their stage are of one kind."""
    room, *parts = path.parts
    if room == "stages":
        parts[0] = parts[0].partition("-")[0]
    return "/".join((room, *(re.sub(r"[0-9a-f]{32}|\d+", "#", part) for part in parts)))


def kinds(folder):
    """One file of every kind."""
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return list({kind_of(file): file for file in files if file.name != ".lock"}.values())


@pytest.mark.soak
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_same_command_repairs_every_kind_of_file(small_run, tmp_path, damage, capsys):
    results = (small_run / "work" / "results.json").read_bytes()
    failed = {}
    for i, file in enumerate(kinds(small_run)):
        folder = tmp_path / str(i)
        shutil.copytree(small_run, folder)
        damage(folder / file)
        try:
            run(typed(small()), folder / "work")
        except Exception as error:  # every one is reported, not the first alone
            failed[kind_of(file)] = repr(error)[:300]
            continue
        if (folder / "work" / "results.json").read_bytes() != results:
            failed[kind_of(file)] = "other results"
        shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{len(kinds(small_run))} kinds of files, {len(failed)} not repaired")
    assert not failed
