"""From files to one array, and the cache of such arrays: alike for images and volumes."""

import hashlib
import io
import os
import shutil
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from data_sets import nifti
from PIL import Image

from assl_jax.data import decoded, decoding
from assl_jax.data.dataset import intensity_from, intensity_of
from assl_jax.data.decoded import read_files
from assl_jax.data.folder import IMAGES
from assl_jax.data.image_file import ImageFormat
from assl_jax.data.volume_file import VolumeFormat
from assl_jax.data.volumes import VOLUMES
from assl_jax.errors import InputError

RNG = np.random.default_rng(0)
FORMATS = {"image": ImageFormat(), "volume": VolumeFormat(window=(-100.0, 100.0))}
SHAPES = {"image": (5, 6), "volume": (2, 3, 4)}


class Files:
    """Files of one kind in a folder, a cache, and what was decoded."""

    def __init__(self, noun, root, monkeypatch):
        self.kind, self.root, self.cache = {"image": IMAGES, "volume": VOLUMES}[noun], root, ""
        self.format, self.suffix = FORMATS[noun], {"image": ".png", "volume": ".nii.gz"}[noun]
        self.arrays = RNG.integers(0, 100, (6, *SHAPES[noun])).astype(self.kind.dtype)
        self.read_again: list[str] = []
        root.mkdir()
        for i, array in enumerate(self.arrays):
            self.save(i, array)

    def file(self, i):
        return self.root / f"{i}{self.suffix}"

    def save(self, i, array):
        if self.kind.noun == "image":
            Image.fromarray(array).save(self.file(i))
        else:
            nifti(self.file(i), array)

    def read(self, names=None, *, on_error="raise", format=None):
        def decode(path, format):
            self.read_again.append(path.name.partition(".")[0])
            return self.kind.decode(path, format)

        names = names or sorted(file.name for file in self.root.iterdir())
        self.read_again.clear()
        return read_files(
            self.root,
            names,
            self.kind._replace(decode=decode),
            format or self.format,
            on_error=on_error,
            cache=str(self.cache),
        )

    def entries(self):
        return sorted(self.cache.glob("[!.]*"))


@pytest.fixture(params=["image", "volume"])
def memory(request, tmp_path, monkeypatch):
    return Files(request.param, tmp_path / "files", monkeypatch)


@pytest.fixture
def cached(memory, tmp_path):
    memory.cache = tmp_path / "cache"
    return memory


@pytest.fixture(params=["memory", "cache"])
def either(request, memory, tmp_path):
    memory.cache = tmp_path / "cache" if request.param == "cache" else ""
    return memory


def equal(found, arrays):
    np.testing.assert_array_equal(found.images[..., 0], arrays)


def test_images_digests_and_sums(either):
    for _ in range(2):
        found = either.read()
        equal(found, either.arrays)
        assert found.images.dtype == either.kind.dtype and not found.skipped
        expected = [hashlib.blake2b(x.tobytes(), digest_size=16).digest() for x in found.images]
        assert [bytes(each) for each in found.digests] == expected
        low, high = either.format.limits
        count = found.images[1:4].size
        assert intensity_from(found.sums[1:4].sum(0), count, low=low, high=high) == intensity_of(
            found.images[1:4], low=low, high=high
        )


def test_order_is_kept_over_many_blocks(tmp_path, monkeypatch):
    files = Files("image", tmp_path / "files", monkeypatch)
    for i in range(200):
        files.save(i, np.full((2, 3), i, np.uint8))
    names = [f"{i}.png" for i in range(200)]
    assert files.read(names).images[:, 1, 2, 0].tolist() == list(range(200))
    assert files.read(names[::-1]).images[:, 1, 2, 0].tolist() == list(range(200))[::-1]


def test_shapes_must_agree(either):
    either.save(5, either.arrays[5][..., :-1])
    fit = {
        "image": r"5x5 pixels, .* 6x5 pixels: set data\.side",
        "volume": r"\(2, 3, 3\) vox",
    }
    for on_error in ("raise", "skip", "skip"):
        with pytest.raises(InputError, match=f"5{either.suffix} is {fit[either.kind.noun]}"):
            either.read(on_error=on_error)


def test_channels_must_agree(tmp_path, monkeypatch):
    files = Files("image", tmp_path / "files", monkeypatch)
    files.save(3, np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(InputError, match=r"3\.png has 3 .*set data\.channels=1 or 3"):
        files.read()
    assert files.read(format=ImageFormat(channels=3)).images.shape == (6, 5, 6, 3)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "gone", "a folder", "dangling"])
def test_files_of_no_use(either, damage):
    bad = either.file(3)
    content = {"empty": b"", "text": b"hello", "truncated": bad.read_bytes()[:60]}
    names = sorted(file.name for file in either.root.iterdir())
    bad.unlink()
    if damage in content:
        bad.write_bytes(content[damage])
    elif damage == "a folder":
        bad.mkdir()
    elif damage == "dangling":
        bad.symlink_to(either.root / "nowhere")
    for files in (names, [bad.name, *names[:2]]):
        with pytest.raises(InputError, match=f"3{either.suffix} cannot be used: .*; repair it"):
            either.read(files)
        found = either.read(files, on_error="skip")
        assert list(found.skipped) == [bad.name] and found.skipped[bad.name]
        equal(found, either.arrays[[0, 1, 2, 4, 5] if files is names else [0, 1]])
        assert len(found.digests) == len(found.sums) == len(found.images)
    with pytest.raises(InputError, match=f"none of its 1 {either.kind.noun}s can be used; 3"):
        either.read([bad.name], on_error="skip")


@pytest.mark.parametrize("bad", ["broken", "another shape", "four axes"])
def test_headers_are_judged_before_any_volume_is_read(tmp_path, monkeypatch, bad):
    files = Files("volume", tmp_path / "files", monkeypatch)
    if bad == "broken":
        files.file(5).write_bytes(b"broken")
    else:
        files.save(5, files.arrays[5][:, :2] if bad == "another shape" else files.arrays[:2])
    with pytest.raises(InputError, match=r"5\.nii\.gz "):
        files.read()
    assert files.read_again == []


def test_the_cache_is_used_again_and_announced_once(cached, capsys):
    cached.file(3).write_bytes(b"broken")
    first = cached.read(on_error="skip")
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"5 {cached.kind.noun}s are kept in {cached.cache}/ (0.0 MB)")
    assert isinstance(first.images, np.memmap) and not first.images.flags.writeable
    again = cached.read(on_error="skip")
    assert capsys.readouterr().err == "" and cached.read_again == []
    assert again.skipped == first.skipped and again.headers == first.headers
    equal(again, cached.arrays[[0, 1, 2, 4, 5]])
    assert len(cached.entries()) == 1


@pytest.mark.parametrize("change", ["content", "time", "order", "more", "repaired"])
def test_only_what_changed_is_read_again(cached, change):
    names, arrays = [f"{i}{cached.suffix}" for i in range(6)], cached.arrays.copy()
    if change == "repaired":
        cached.file(5).write_bytes(b"broken")
        cached.kind = cached.kind._replace(header=None)  # which would tell before any is read
        cached.kind = cached.kind._replace(workers=1)
        with pytest.raises(InputError, match="5.* cannot be used"):
            cached.read(names)
        cached.save(5, arrays[5])
    else:
        cached.read(names)
    stat = cached.file(4).stat()
    if change == "content":
        arrays[4] = arrays[0]
        cached.save(4, arrays[4])
        os.utime(cached.file(4), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    if change == "time":
        os.utime(cached.file(4), ns=(1, 1))
    if change == "order":
        names, arrays = names[::-1], arrays[::-1]
    if change == "more":
        cached.save(6, arrays[0])
        names, arrays = [*names, f"6{cached.suffix}"], np.concatenate([arrays, arrays[:1]])
    equal(cached.read(names), arrays)
    # The first file is always read: it tells the shape.
    more = {"content": "4", "time": "4", "order": "", "more": "6", "repaired": "5"}[change]
    assert set(cached.read_again) <= {names[0][0], more} and more in {*cached.read_again, ""}
    assert len(cached.entries()) == (1 if change == "repaired" else 2)


def test_settings_and_folders_do_not_share_entries(cached, tmp_path):
    cached.read()
    other = {
        "image": ImageFormat(channels=3),
        "volume": VolumeFormat(window=(-50.0, 50.0)),
    }[cached.kind.noun]
    found = cached.read(format=other)
    assert len(cached.read_again) == 6
    equal(found, cached.arrays if cached.kind.noun == "image" else cached.arrays.clip(-50, 50))
    shutil.copytree(cached.root, tmp_path / "copy")
    cached.root = tmp_path / "copy"
    equal(cached.read(), cached.arrays)
    assert len(cached.read_again) == 6 and len(cached.entries()) == 3


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "cut": lambda entry, name: (entry / name).write_bytes((entry / name).read_bytes()[:-1]),
    "short": lambda entry, name: (entry / name).write_bytes(b""),
    "gone": lambda entry, name: (entry / name).unlink(),
    "bit": lambda entry, name: flip(entry / name),
    "pickle": lambda entry, name: np.save(
        entry / name, np.array([{}], dtype=object), allow_pickle=True
    ),
    "half a record": lambda entry, name: (entry / "entry.json").write_text('{"rows": 5, "sk'),
    "no record": lambda entry, name: (entry / "entry.json").unlink(),
}


ARRAYS = ("images.npy", "digests.npy", "sums.npy", "stamps.npy")
CASES = [(d, n) for d in DAMAGES for n in ARRAYS if "record" not in d or n == ARRAYS[0]]


@pytest.mark.parametrize(("damage", "name"), CASES)
def test_a_damaged_entry_is_made_again(cached, damage, name):
    cached.file(2).write_bytes(b"broken")
    expected = cached.read(on_error="skip")
    expected = expected._replace(images=np.array(expected.images))
    (entry,) = cached.entries()
    DAMAGES[damage](entry, name)
    found = cached.read(on_error="skip")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_equal(one, other)
    assert cached.entries() == [entry]
    if damage == "bit" and name == "images.npy":  # the last image, and the first, for the shape
        assert set(cached.read_again) <= {"0", "2", "5"}


def test_what_stopped_processes_left_is_used_and_swept_up(cached):
    expected = cached.read()
    (entry,) = cached.entries()
    begun = cached.cache / f".unfinished-{entry.name}-1"
    shutil.move(entry, begun)
    (begun / "entry.json").unlink()
    digests = np.load(begun / "digests.npy")
    digests[3:] = 0
    np.save(begun / "digests.npy", digests)
    old = cached.cache / ".unfinished-another-2"
    old.mkdir()
    os.utime(old, (0, time.time() - 25 * 3600))
    again = cached.read()
    equal(again, cached.arrays)
    np.testing.assert_array_equal(again.digests, expected.digests)
    assert sorted(set(cached.read_again)) == ["0", "3", "4", "5"]
    assert not list(cached.cache.glob(".unfinished-*")) and cached.entries() == [entry]


def test_several_processes_fill_one_cache(cached):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(cached.read().images)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(cached.entries()) == 1
    for images in results:
        np.testing.assert_array_equal(images[..., 0], cached.arrays)


def test_cache_folders_of_no_use(cached, tmp_path, monkeypatch):
    cache = cached.cache
    (tmp_path / "file").write_text("a file")
    for cached.cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"data\.cache=.* cannot be written"):
            cached.read()
    cached.cache = cache
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 2**20))
    with pytest.raises(InputError, match=r"data\.cache=.* has 0\.0 GB free"):
        cached.read()
    assert not list(cache.glob("*/*.npy"))


def test_the_versions_of_readers_count(cached, monkeypatch):
    cached.read()
    monkeypatch.setattr(decoded, "_version", lambda package: "another")
    cached.read()
    assert len(cached.entries()) == 2


@pytest.mark.parametrize("how", ["a file fails", "the reader stops"])
def test_no_work_begins_after_an_error(how):
    begun = []

    def work(file):
        begun.append(file)
        time.sleep(0.005)
        if how == "a file fails" and file == "1":
            raise InputError("file 1")
        return file

    files = [str(i) for i in range(100)]
    with pytest.raises(InputError), closing(decoding.parallel(work, files, 2)) as results:
        for result in results:
            if result == "2":
                raise InputError("enough")
    assert 2 <= len(begun) < 20


def test_progress_is_shown(cached, monkeypatch, capsys):
    cached.read()
    *progress, _ = capsys.readouterr().err.splitlines()
    noun = cached.kind.noun
    assert progress == ["checking headers: 6/6"] * (noun == "volume") + [f"reading {noun}s: 6/6"]

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    cached.file(6).write_bytes(cached.file(0).read_bytes())
    cached.read()
    assert f"reading {noun}s" in sys.stderr.getvalue() and "7/7" in sys.stderr.getvalue()
