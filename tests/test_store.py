"""The store of finished stages: what is written is read back, and damage is never a result."""

import errno
import itertools
import json
import shutil

import pytest

from assl_jax import store as module
from assl_jax.errors import InputError
from assl_jax.files import LOCK
from assl_jax.records import Features, Network, StageRecord
from assl_jax.store import LocalStore, open_store

NAME = "pretrain-a-0a-1b"
RECORD = StageRecord(
    kind="pretrain",
    network=Network(tasks=("a",)),
    label="a",
    settings={"seed": 0, "delay": [1, 2], "rate": 0.1 + 0.2},
    code="abc",
    commit="",
    result=Features(n=1, d=2),
    seconds=1.5,
)


def finish(store, name=NAME, text="run 1"):
    """A finished stage with a file, a file in deep folders, and those of trackers."""
    with store.lock(name):
        folder = store.begin(name)
        for file in ("weights", "deep/er/array", "wandb/run", "tensorboard/run"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        store.put(name, RECORD)
    return folder


def test_what_is_kept_is_read_back(tmp_path):
    store = LocalStore(tmp_path)
    assert store.get(NAME) is None and store.folder(NAME) == tmp_path / NAME
    folder = finish(store)
    for each in (store, LocalStore(tmp_path)):
        found = each.get(NAME)
        assert found.replace(files={}) == RECORD
        assert set(found.files) == {"weights", "deep/er/array"}
    assert json.loads((folder / "done.json").read_text())["settings"] == RECORD.settings


def test_an_unfinished_stage_keeps_its_files(tmp_path):
    store = LocalStore(tmp_path)
    for text in ("half", "whole"):
        with store.lock(NAME) as mine:
            folder = store.begin(NAME)
            assert mine and ((folder / "checkpoint").exists() == (text == "whole"))
            (folder / "checkpoint").write_text(text)
        assert store.get(NAME) is None and not store.like("pretrain-")


def changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": changed,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "other bytes": lambda path: path.write_bytes(b"\xff\x00" * 40),
    "missing": lambda path: path.unlink(),
}


FILES = ("weights", "deep/er/array", "done.json")
CASES = list(itertools.product(FILES, DAMAGES))[:-1]  # without `done.json` it is not finished


@pytest.mark.parametrize("file, damage", CASES)
def test_a_damaged_stage_is_not_finished_and_is_emptied_which_is_said(
    tmp_path, capsys, file, damage
):
    folder, other = finish(LocalStore(tmp_path)), finish(LocalStore(tmp_path), "other")
    DAMAGES[damage](folder / file)
    store = LocalStore(tmp_path)
    assert store.get(NAME) is None and capsys.readouterr().err == ""
    assert (folder / "done.json").exists()  # to look changes nothing
    with store.lock(NAME):
        store.begin(NAME)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    said = f"{folder / file} is damaged or missing; this stage is computed again\n"
    assert capsys.readouterr().err == said
    finish(store, text="run 2")
    assert LocalStore(tmp_path).get(NAME) and (folder / "weights").read_text() == "run 2"
    assert LocalStore(tmp_path).get("other") and (other / "weights").read_text() == "run 1"


def test_files_that_may_come_and_go(tmp_path):
    folder = finish(LocalStore(tmp_path))
    (folder / "note").write_text("of the user")
    (folder / ".DS_Store").write_text("of the system")
    shutil.rmtree(folder / "wandb")
    (folder / "tensorboard" / "run").write_text("more")
    assert LocalStore(tmp_path).get(NAME)


@pytest.mark.parametrize(
    "call, file", [("assl_jax.files.file_digest", ""), ("pathlib.Path.read_bytes", "done.json ")]
)
def test_what_cannot_be_read_now_is_not_damaged(tmp_path, monkeypatch, call, file):
    """A disk may recover, and a stage is hours of work."""
    folder = finish(LocalStore(tmp_path))

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(InputError, match=f"{file}cannot be read: Input/output error"):
            LocalStore(tmp_path).get(NAME)
    assert LocalStore(tmp_path).get(NAME) and (folder / "weights").read_text() == "run 1"


def test_files_are_checked_once_in_a_process(tmp_path, monkeypatch):
    finish(LocalStore(tmp_path))
    store, checks, real = LocalStore(tmp_path), [], module.first_changed
    monkeypatch.setattr(module, "first_changed", lambda *a: checks.append(a) or real(*a))
    assert store.get(NAME) is store.get(NAME) and len(checks) == 1


def test_the_newest_of_several_comes_first(tmp_path):
    store = LocalStore(tmp_path)
    names = [f"pretrain-a-0a-{code}" for code in "213"]
    for name in (*names, "pretrain-b-0a-1"):
        finish(store, name)
    at = [store.finished_at(name) for name in names]
    assert store.like("pretrain-a-0a-") == names[::-1] and at == sorted(at)


def test_one_of_two_has_the_lock(tmp_path):
    first, second = LocalStore(tmp_path), LocalStore(tmp_path)
    with first.lock(NAME) as mine, second.lock(NAME) as other, second.lock("free") as free:
        assert (mine, other, free) == (True, False, True)
    with second.lock(NAME) as other:
        assert other


def test_an_address_names_a_store(tmp_path, monkeypatch):
    (tmp_path / "shelf.py").write_text(
        "from pathlib import Path\n"
        "from assl_jax.store import LocalStore\n"
        "class Shelf(LocalStore):\n"
        "    def __init__(self, rest):\n"
        "        super().__init__(Path(rest) / 'shelf')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    finish(open_store(f"shelf:Shelf://{tmp_path}"))
    for address in (tmp_path / "shelf", f"{tmp_path}/shelf", f"file://{tmp_path}/shelf"):
        assert open_store(address).get(NAME), address
    with pytest.raises(InputError, match="--stages='fil' is unknown; did you mean 'file'"):
        open_store("fil://x")
