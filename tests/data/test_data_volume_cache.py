"""The cache of volumes: valid and damaged entries, and the array of all entries."""

import io
import json
import os
import shutil
import sys
import threading
import time
from contextlib import closing

import nibabel as nib
import numpy as np
import pytest

from assl_jax.data import volume_cache
from assl_jax.data.dataset import intensity_of
from assl_jax.data.volume_cache import VolumeStack, read_volumes
from assl_jax.data.volume_file import VolumeFormat, VolumeHeader, read_volume
from assl_jax.errors import InputError

RNG = np.random.default_rng(0)
ARRAYS = RNG.integers(-100, 100, (6, 2, 3, 4)).astype(np.int16)
FORMAT = VolumeFormat(window=(-100.0, 100.0))


def save(path, array):
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    nib.Nifti1Image(array, affine).to_filename(path)


@pytest.fixture
def files(tmp_path):
    """Six volumes, the rows of `ARRAYS`."""
    root = tmp_path / "scans"
    root.mkdir()
    for i, array in enumerate(ARRAYS):
        save(root / f"{i}.nii.gz", array)
    return root


def read(root, cache="", format=FORMAT, on_error="raise"):
    names = sorted(file.name for file in root.iterdir())
    stats = [(root / name).stat() for name in names]
    stamps = {n: (s.st_size, s.st_mtime_ns) for n, s in zip(names, stats, strict=True)}
    return read_volumes(root, stamps, format, on_error=on_error, cache=str(cache))[:2]


def times(cache):
    return {f: f.stat().st_mtime_ns for f in cache.glob("*/*.npy")}


@pytest.fixture
def stack(files, tmp_path):
    return read(files, tmp_path / "cache")[0]


def test_in_memory_and_cached_are_the_same(files, tmp_path):
    memory, _ = read(files)
    stack, skipped = read(files, tmp_path / "cache")
    assert isinstance(memory, np.ndarray) and isinstance(stack, VolumeStack) and not skipped
    np.testing.assert_array_equal(memory[..., 0], ARRAYS)
    np.testing.assert_array_equal(stack, memory)
    assert (stack.shape, stack.dtype, stack.ndim, stack.nbytes, len(stack)) == (
        *(memory.shape, memory.dtype, memory.ndim, memory.nbytes, len(memory)),
    )


@pytest.mark.parametrize(
    "index",
    [0, -1, np.int64(3), slice(None), slice(4, 1, -2), slice(9, 12), [5, 0, 0], np.array([-1, 2])]
    + [np.zeros(0, int), np.arange(6) % 2 == 0, np.array([[0, 1], [2, 3]])],
    ids=str,
)
def test_indexing_is_that_of_an_array(stack, index):
    expected = ARRAYS[..., None][index]
    found = stack[index]
    assert type(found) is np.ndarray and found.dtype == np.int16
    np.testing.assert_array_equal(found, expected)
    if np.ndim(expected) == stack.ndim:
        taken = stack.take(index)
        assert isinstance(taken, VolumeStack) and taken.shape == expected.shape
        np.testing.assert_array_equal(np.asarray(taken), expected)


@pytest.mark.parametrize(
    "index", [(2, slice(1, None)), ([4, 0], slice(None), slice(0, None, 2)), (slice(3), 0)], ids=str
)
def test_a_part_of_each_volume(stack, index):
    np.testing.assert_array_equal(stack[index], ARRAYS[..., None][index])


def test_a_stack_as_an_array(stack):
    assert np.asarray(stack, np.float32).dtype == np.float32
    np.testing.assert_array_equal(list(stack), ARRAYS[..., None])
    with pytest.raises(IndexError):
        stack[6]
    with pytest.raises(ValueError, match="copy"):
        np.array(stack, copy=False)
    with pytest.raises(TypeError):
        stack[0] = 1


def test_only_the_files_asked_for_are_read(stack):
    for file in stack.files[2:]:
        file.unlink()
    np.testing.assert_array_equal(stack[:2][..., 0], ARRAYS[:2])
    np.testing.assert_array_equal(stack.take([5, 1])[1][..., 0], ARRAYS[1])
    with pytest.raises(InputError, match="run again"):
        stack[2]


def test_only_a_changed_file_is_read_again(files, tmp_path):
    cache = tmp_path / "cache"
    read(files, cache)
    before = times(cache)
    assert len(before) == 6
    read(files, cache)
    assert times(cache) == before
    stat = (files / "2.nii.gz").stat()
    os.utime(files / "2.nii.gz", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    save(files / "4.nii.gz", ARRAYS[0])
    stack, _ = read(files, cache)
    np.testing.assert_array_equal(stack[:][..., 0], ARRAYS[[0, 1, 2, 3, 0, 5]])
    after = times(cache)
    assert before.items() <= after.items() and len(after) == 8


def test_settings_do_not_share_entries(files, tmp_path):
    read(files, tmp_path / "cache")
    half, _ = read(files, tmp_path / "cache", VolumeFormat(window=(-50.0, 50.0)))
    np.testing.assert_array_equal(half[:][..., 0], ARRAYS.clip(-50, 50))


def test_folders_do_not_share_entries(tmp_path):
    for root, array in ((tmp_path / "a", ARRAYS[0]), (tmp_path / "b", ARRAYS[1])):
        root.mkdir()
        save(root / "0.nii", array)  # the same name, size and time
        os.utime(root / "0.nii", ns=(1, 1))
        stack, _ = read(root, tmp_path / "cache")
        np.testing.assert_array_equal(stack[0][..., 0], array)


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "long": lambda file: file.write_bytes(file.read_bytes() + b"0"),
    "text": lambda file: file.write_bytes(b"text" * 100),
    "type": lambda file: np.save(file, ARRAYS[0][..., None].astype(np.int32)),
    "shape": lambda file: np.save(file, ARRAYS[0][:1, ..., None]),
    "pickle": lambda file: np.save(file, np.array([{}], object), allow_pickle=True),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("shape", [(), (2, 3, 4)])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_volume_is_read_again(files, tmp_path, damage, shape):
    cache, format = tmp_path / "cache", VolumeFormat(window=FORMAT.window, shape=shape)
    stack, _ = read(files, cache, format)
    before, whole = times(cache), stack.files[0].read_bytes()
    DAMAGES[damage](stack.files[0])
    again, _ = read(files, cache, format)
    np.testing.assert_array_equal(again[:][..., 0], ARRAYS)
    assert stack.files[0].read_bytes() == whole
    after = times(cache)
    assert {f for f in before if after[f] != before[f]} == {stack.files[0]}


def test_a_killed_build_is_finished_and_swept_up(files, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    stack, _ = read(files, cache)
    folder = stack.files[0].parent
    whole = stack.files[5].read_bytes()
    for file in stack.files[3:]:
        file.unlink()
    fresh, old = folder / ".unfinished-1.npy", folder / ".unfinished-2.npy"
    for scratch in (fresh, old):  # of a process that may still run, and of a killed one
        scratch.write_bytes(whole[:-9])
    os.utime(old, (0, time.time() - 25 * 3600))
    elsewhere = cache / "another format" / ".unfinished-3.npy"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"")
    os.utime(elsewhere, (0, 0))
    done = []
    monkeypatch.setattr(
        volume_cache,
        "read_volume",
        lambda path, format: done.append(path.name) or read_volume(path, format),
    )
    again, _ = read(files, cache)
    np.testing.assert_array_equal(again[:][..., 0], ARRAYS)
    assert sorted(done) == ["3.nii.gz", "4.nii.gz", "5.nii.gz"]
    assert fresh.exists() and not old.exists() and not elsewhere.exists()


def test_a_failed_build_keeps_what_was_finished(files, tmp_path, monkeypatch):
    monkeypatch.setattr(volume_cache, "WORKERS", 1)
    monkeypatch.setattr(volume_cache, "volume_header", lambda *_: VolumeHeader())
    (files / "3.nii.gz").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"3\.nii\.gz cannot be used: .*on_error=skip"):
        read(files, tmp_path / "cache")
    assert len(times(tmp_path / "cache")) >= 3
    assert not list(tmp_path.glob("cache/*/.unfinished-*"))


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("bad", ["broken", "another shape", "four axes"])
def test_headers_are_judged_before_any_volume_is_read(files, tmp_path, monkeypatch, bad, cached):
    if bad == "broken":
        (files / "5.nii.gz").write_bytes(b"broken")
    else:
        save(files / "5.nii.gz", ARRAYS[5][:, :2] if bad == "another shape" else ARRAYS[:2])
    done = []
    monkeypatch.setattr(volume_cache, "read_volume", lambda path, format: done.append(path))
    with pytest.raises(InputError, match=r"5\.nii\.gz "):
        read(files, tmp_path / "cache" if cached else "")
    assert done == []


@pytest.mark.parametrize("how", ["a file fails", "the reader stops"])
def test_no_work_begins_after_an_error(monkeypatch, how):
    monkeypatch.setattr(volume_cache, "WORKERS", 2)
    begun = []

    def work(file):
        begun.append(file)
        time.sleep(0.005)
        if how == "a file fails" and file == "1":
            raise InputError("file 1")
        return file

    files = [str(i) for i in range(100)]
    with pytest.raises(InputError), closing(volume_cache._parallel(work, files, "x")) as results:
        for result in results:
            if result == "2":
                raise InputError("enough")
    assert 2 <= len(begun) < 20


def test_two_builds_at_once(files, tmp_path):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(read(files, tmp_path / "cache")[0][:]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(times(tmp_path / "cache")) == 6
    for result in results:
        np.testing.assert_array_equal(result[..., 0], ARRAYS)


@pytest.mark.parametrize("cached", [False, True])
def test_skipping_and_disagreeing(files, tmp_path, cached):
    cache = tmp_path / "cache" if cached else ""
    (files / "0.nii.gz").write_bytes(b"broken")
    (files / "3.nii.gz").unlink()
    (files / "3.nii.gz").mkdir()
    images, skipped = read(files, cache, on_error="skip")
    np.testing.assert_array_equal(images[:][..., 0], ARRAYS[[1, 2, 4, 5]])
    assert list(skipped) == ["0.nii.gz", "3.nii.gz"] and "not a NIfTI" in skipped["0.nii.gz"]
    assert "without DICOM slices" in skipped["3.nii.gz"]

    save(files / "5.nii.gz", ARRAYS[5][:, :2])
    for _ in range(2):  # the second time, the others are in the cache
        with pytest.raises(InputError) as caught:
            read(files, cache, on_error="skip")
        message = str(caught.value)
        assert str(files / "5.nii.gz") in message and "data.shape" in message
        assert "(2, 2, 4)" in message and "(2, 3, 4)" in message and "\n" not in message
    same = VolumeFormat(window=FORMAT.window, shape=(2, 2, 2))
    assert read(files, cache, same, on_error="skip")[0].shape == (4, 2, 2, 2, 1)

    for i in (1, 2, 4, 5):
        (files / f"{i}.nii.gz").write_bytes(b"broken")
    with pytest.raises(InputError, match="none of its volumes"):
        read(files, cache, on_error="skip")


def test_useless_cache_folders(files, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"data\.cache=.* cannot be written"):
            read(files, cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 2**20))
    with pytest.raises(InputError, match=r"data\.cache=.* has 0\.0 GB free"):
        read(files, tmp_path / "cache")
    assert not times(tmp_path / "cache")

    def full(file, array, **_):
        file.write(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        read(files, tmp_path / "cache")
    assert [f for f in tmp_path.glob("cache/*/*") if f.is_file()] == []


def test_statistics_are_kept(stack, monkeypatch):
    folder = stack.files[0].parent
    rows = stack.take([1, 2, 5])
    expected = intensity_of(ARRAYS[[1, 2, 5], ..., None], low=-100.0, high=100.0)
    assert rows.intensity(-100.0, 100.0) == expected
    (entry,) = folder.glob("statistics-*.json")
    assert not list(folder.glob(".unfinished-*"))
    assert stack.take([1, 2]).intensity(-100.0, 100.0) != expected
    assert len(list(folder.glob("statistics-*.json"))) == 2

    for damaged in ("", "[]", '{"mean": [1.0]}', '{"mean": null, "std": [1]}', '{"mean": ["x'):
        entry.write_text(damaged)
        assert rows.intensity(-100.0, 100.0) == expected
        assert json.loads(entry.read_text())["mean"] == list(expected.mean)
    monkeypatch.setattr(np, "load", None)  # no volume is read again
    assert rows.intensity(-100.0, 100.0) == expected


def test_what_killed_readers_have_left_is_removed(files, tmp_path):
    left = tmp_path / "cache" / "ab12" / ".unfinished-1.npy"
    left.parent.mkdir(parents=True)
    left.touch()
    os.utime(left, (0, 0))
    read(files, tmp_path / "cache")
    assert not left.exists()


def test_progress_is_shown(files, tmp_path, monkeypatch, capsys):
    read(files, tmp_path / "cache")
    *progress, said = capsys.readouterr().err.splitlines()
    assert progress == ["checking headers: 6/6", "reading volumes: 6/6"]
    size = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.npy")) / 1e6
    assert said.startswith(f"6 volumes are kept in {tmp_path / 'cache'}/ ({size:,.1f} MB)")
    read(files, tmp_path / "cache")
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    read(files, tmp_path / "other")
    assert "reading volumes" in sys.stderr.getvalue() and "6/6" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    read(files, tmp_path / "cache")
    assert sys.stderr.getvalue() == ""
