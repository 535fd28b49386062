"""Atomic writes, digests and locks."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from assl_jax import files
from assl_jax.files import (
    UNFINISHED,
    atomic_file,
    atomic_folder,
    digest,
    disk_fault,
    read_array,
    sweep,
    try_lock,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_complete_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_file(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".json"
        assert temporary.name.startswith(UNFINISHED)
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and names(tmp_path) == ["a.json"]


def test_a_writer_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="broken"), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("broken")
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    with pytest.raises(ValueError, match="allow_pickle"):
        files.write_array(path, np.array([{}], object))
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_appears_complete_at_the_end(tmp_path):
    path = tmp_path / "entry"
    path.mkdir()
    (path / "old").write_text("old")
    with atomic_folder(path) as temporary:
        (temporary / "new").write_text("new")
        assert names(path) == ["old"]
    assert names(path) == ["new"] and names(tmp_path) == ["entry"]


def test_a_writer_that_raises_leaves_the_old_folder(tmp_path):
    path = tmp_path / "entry"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep/new").write_text("half")
        raise RuntimeError
    assert names(path) == ["old"] and names(tmp_path) == ["entry"]


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "entry").write_text("a file")
    with pytest.raises(OSError), atomic_folder(tmp_path / "entry"):
        pass
    assert (tmp_path / "entry").read_text() == "a file" and names(tmp_path) == ["entry"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "file", "text")
        with atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


def test_two_writers_of_one_file_and_one_folder(tmp_path):
    """Readers see one writer's content or the other's, never a mixture."""
    texts = ["a" * 100_000, "b" * 100_000]
    umask = os.umask(0o022)
    os.umask(umask)
    errors = []

    def write(text):
        try:
            for _ in range(30):
                files.write_text(tmp_path / "file", text)
                with atomic_folder(tmp_path / "folder") as folder:
                    (folder / "one").write_text(text)
                    (folder / "two").write_text(text)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "file").exists():
            assert (tmp_path / "file").read_text() in texts
    for thread in threads:
        thread.join()
    assert not errors
    assert names(tmp_path) == ["file", "folder"] and names(tmp_path / "folder") == ["one", "two"]
    one, two = ((tmp_path / "folder" / name).read_text() for name in ("one", "two"))
    assert one == two and one in texts
    assert os.umask(umask) == umask  # threads that change it may leave another one behind


def test_text_json_and_arrays_come_back(tmp_path):
    files.write_text(tmp_path / "a.txt", "grün\r\nx\n")
    assert (tmp_path / "a.txt").read_bytes() == "grün\r\nx\n".encode()
    value = {"b": [1, 2.5, None], "a": "ä"}
    files.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    files.write_array(tmp_path / "a.array", array)  # NumPy would add a suffix
    np.testing.assert_array_equal(read_array(tmp_path / "a.array"), array)
    files.write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)
    mapped = read_array(tmp_path / "a.npy", mmap=True)
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, array)


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_array(tmp_path / "a.npy")


def test_a_digest_is_of_the_value_not_of_its_order():
    value = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert digest(value) == digest({"b": {"d": None, "c": (1, 2)}, "a": 1})
    others = [
        {"a": 2, "b": value["b"]},
        {"a": 1, "b": {"c": [2, 1], "d": None}},
        {"a": 1, "b": {"c": [1, 2]}},
        {"a": "1", "b": value["b"]},
        [value],
    ]
    assert len({digest(v) for v in [value, *others]}) == 1 + len(others)
    # SHA-256 of the two bytes [].
    assert digest([]) == "4f53cda18c2b" and digest([], 20) == "4f53cda18c2baa0c0354"


LOCKER = """
import sys
from pathlib import Path
from assl_jax.files import try_lock

lock = try_lock(Path(sys.argv[1]))
print("locked" if lock else "refused", flush=True)
sys.stdin.readline()
"""


def locker(path: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", LOCKER, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_one_process_holds_a_lock_until_it_ends(tmp_path):
    path = tmp_path / "lock"
    with locker(path) as first:
        assert first.stdout.readline() == "locked\n"
        assert try_lock(path) is None
        first.kill()  # without a release: the system releases the lock
        first.wait()
        own = try_lock(path)
        assert own is not None
        with locker(path) as second:
            assert second.communicate("\n")[0] == "refused\n"
        own.release()
        with locker(path) as third:
            assert third.communicate("\n")[0] == "locked\n"


def test_what_killed_writers_have_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "kept.npy").touch()
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "a" / "folder") as old:
        (old / "x").touch()
        shutil.copytree(old, tmp_path / "a" / f"{old.name}0")
        raise KeyboardInterrupt
    with atomic_file(tmp_path / "new.npy") as running:
        os.utime(tmp_path / "a" / f"{old.name}0", (0, 0))
        sweep(tmp_path)
        assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(
            ["a", "kept.npy", running.name]
        )
        os.utime(running, (0, 0))
        sweep(tmp_path)
        assert not running.exists()
        running.touch()
        sweep(tmp_path, seconds=0)
        assert not running.exists()
        running.touch()


@pytest.mark.parametrize(
    "error, says",
    [
        (OSError(errno.ENOSPC, "x"), "No space left on device"),
        (OSError(errno.EROFS, "x", "/a/b"), "/a/b: Read-only file system"),
        (OSError(errno.ENOENT, "x", "/a", None, "/b"), "/b: No such file or directory"),
        (OSError(errno.ENOENT, "x"), None),
        (OSError(errno.EPIPE, "x", "/a"), None),
        (ValueError("[OS error 28: ENOSPC No space left on device]"), "No space left on device"),
        (ValueError("No such file or directory"), None),
        (RuntimeError(), None),
    ],
)
def test_faults_of_a_disk(error, says):
    assert disk_fault(error) == says
