"""Outputs: what is there stays, unless the user asks; devices, pipes and links are no files."""

import os
import socket
import stat
import threading

import pytest

from assl_jax import files, outputs
from assl_jax.errors import InputError


def link(path):
    (path.parent / "target").write_text("mine")
    path.symlink_to("target")


HELD = {
    "a file": lambda path: path.write_text("mine"),
    "a link to a file": link,
    "a file of one byte": lambda path: path.write_bytes(b"\0"),
}
FREE = {
    "nothing": lambda path: None,
    "an empty file": lambda path: path.touch(),
    "a link to nothing": lambda path: path.symlink_to("absent"),
    "a link to a link": lambda path: (
        path.symlink_to("between"),
        (path.parent / "between").symlink_to("absent"),
    ),
    "a file with the same content": lambda path: path.write_text("new"),
    "a folder that is missing": lambda path: path.parent.rmdir(),
}


def place(folder):
    (folder / "out").mkdir()
    return folder / "out" / "a.csv"


@pytest.mark.parametrize("held", HELD)
def test_what_holds_something_else_stays_with_all_files_of_the_command(tmp_path, held):
    path = place(tmp_path)
    HELD[held](path)
    before = path.read_bytes()
    contents = {tmp_path / "first.csv": b"1", path: b"new", tmp_path / "last.csv": b"2"}
    with pytest.raises(InputError, match=r"a\.csv holds something else; --force replaces it"):
        outputs.write(contents)
    assert path.read_bytes() == before and list(tmp_path.glob("*.csv")) == []
    was_link = path.is_symlink()
    outputs.write(contents, force=True)
    assert path.read_bytes() == b"new" and (tmp_path / "last.csv").read_bytes() == b"2"
    assert path.is_symlink() == was_link
    assert not list(tmp_path.rglob(f"{files.UNFINISHED}*"))


@pytest.mark.parametrize("free", FREE)
def test_what_holds_nothing_else_is_written(tmp_path, free):
    path = place(tmp_path)
    FREE[free](path)
    was_link = path.is_symlink()
    outputs.write({path: b"new"})
    assert path.read_bytes() == b"new" and path.is_symlink() == was_link


def test_the_same_content_is_not_written_again(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("new")
    os.utime(path, ns=(1, 1))
    outputs.write({path: b"new"})
    outputs.write({path: b"new"}, force=True)
    assert path.stat().st_mtime_ns == 1


def test_a_private_file_stays_private(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    path.chmod(0o600)
    outputs.write({path: b"new"}, force=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_receives_the_content_and_stays(tmp_path, linked, force):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to("pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    content = os.urandom(200_000)  # more than a pipe holds
    outputs.write({path: content}, force=force)
    reader.join(10)
    assert got == [content] and pipe.is_fifo() and path.is_symlink() == linked
    assert {p.name for p in tmp_path.iterdir()} <= {"pipe", "link"}


@pytest.mark.parametrize("writer", ["text", "json", "array", "bytes"])
def test_a_device_is_no_file_for_any_writer(tmp_path, writer):
    """A link to the device: as root, a wrong writer would replace the device of the machine."""
    import numpy as np

    path = tmp_path / "null"
    path.symlink_to("/dev/null")
    content = {"text": "a", "json": {}, "array": np.zeros(3), "bytes": b"a"}[writer]
    getattr(files, f"write_{writer}")(path, content)
    assert path.is_symlink() and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not list(tmp_path.glob(f"{files.UNFINISHED}*"))


def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(InputError, match="socket cannot be written: No such device"):
            outputs.write({tmp_path / "socket": b"a"}, force=True)
    assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for name, why in {
        "loop": "loop cannot be written: Too many levels",
        "file/a.csv": "file is a file; name a folder",
        "file/deep/a.csv": "a.csv cannot be written: Not a directory",
        ".": "cannot be written: Is a directory",
    }.items():
        with pytest.raises(InputError, match=why):
            outputs.write({tmp_path / name: b"a"}, force=True)


def test_it_is_said_before_the_work_that_a_file_may_stay(tmp_path, capsys):
    path = tmp_path / "a.csv"
    for content, force in ((None, False), ("", False), ("old", True)):
        if content is not None:
            path.write_text(content)
        outputs.expect(path, force=force)
    outputs.expect(tmp_path / "null", force=False)
    assert capsys.readouterr().err == ""
    outputs.expect(path)
    assert capsys.readouterr().err == (
        f"{path} exists; --force replaces it if its content changes\n"
    )
    (tmp_path / "link").symlink_to("nowhere/a.csv")
    for wrong in (tmp_path, tmp_path / "nowhere" / "a.csv", tmp_path / "link"):
        with pytest.raises(InputError, match="is no file in an existing folder"):
            outputs.expect(wrong)
