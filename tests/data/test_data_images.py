"""Decoding image files: modes, orientation, resizing, broken files and the cache."""

import dataclasses
import hashlib
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assl_jax.data import load
from assl_jax.data.image_file import ImageFormat
from assl_jax.data.images import read_images
from assl_jax.errors import InputError
from assl_jax.ops.intensity import Intensity

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def save(path: Path, array=None, *, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(COLOUR if array is None else array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def read(root, files, *, side=0, channels=0, on_error="raise", cache=""):
    format = ImageFormat(side=side, channels=channels)
    return read_images(root, files, format, on_error=on_error, cache=str(cache))[:2]


def test_sixteen_bit_grey_is_refused(tmp_path):
    file = save(tmp_path / "deep.png", GREY.astype(np.uint16) * 100)
    with pytest.raises(InputError, match=r"deep\.png.*8 bits"):
        read(tmp_path, [file.name])


def test_order_is_kept_over_many_blocks(tmp_path):
    files = [f"{i}.png" for i in range(200)]
    for i, file in enumerate(files):
        save(tmp_path / file, np.full((2, 3), i, np.uint8))
    images, skipped = read(tmp_path, files)
    assert images.shape == (200, 2, 3, 1) and not skipped
    np.testing.assert_array_equal(images[:, 1, 2, 0], np.arange(200))


def test_sizes_and_channels_must_agree(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", COLOUR[:3])
    save(tmp_path / "g.png", GREY)
    with pytest.raises(InputError, match=r"b\.png is 6x3 .*a\.png is 6x4.*set data\.side"):
        read(tmp_path, ["a.png", "b.png"])
    with pytest.raises(InputError, match=r"g\.png has 1 .*set data\.channels=1 or 3"):
        read(tmp_path, ["a.png", "g.png"])
    images, _ = read(tmp_path, ["a.png", "b.png", "g.png"], side=5, channels=3)
    assert images.shape == (3, 5, 5, 3)


@pytest.mark.parametrize("format", ["png", "jpg", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "gone"])
def test_broken_files(tmp_path, format, damage):
    noise = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    save(tmp_path / "good.png", noise)
    bad = save(tmp_path / f"bad.{format}", noise)
    if damage == "gone":
        bad.unlink()
    else:
        content = {"empty": b"", "text": b"hello", "truncated": bad.read_bytes()[:-600]}
        bad.write_bytes(content[damage])
    for files in ([bad.name, "good.png"], ["good.png", bad.name, "good.png"]):
        with pytest.raises(InputError, match=f"bad.{format} cannot be read") as caught:
            read(tmp_path, files)
        assert "\n" not in str(caught.value)
        images, skipped = read(tmp_path, files, on_error="skip")
        assert list(skipped) == [bad.name] and skipped[bad.name]
        assert len(images) == len(files) - 1
        for image in images:
            np.testing.assert_array_equal(image, noise)


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(3):
        save(root / f"{i}.png", np.full((2, 3), 10 * i, np.uint8))
    (root / "bad.png").write_bytes(b"broken")
    return root, ["0.png", "bad.png", "1.png", "2.png"], tmp_path / "cache"


def forbid_decoding(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(Image, "open", fail)


def test_cache_is_used_again(pictures, monkeypatch, capsys):
    root, files, cache = pictures
    first, skipped = read(root, files, on_error="skip", cache=cache)
    said = [line for line in capsys.readouterr().err.splitlines() if "kept" in line]
    assert len(said) == 1 and said[0].startswith(f"3 decoded images are kept in {cache}/ (0.0 MB)")
    assert isinstance(first, np.memmap) and not first.flags.writeable
    assert first[:, 0, 0, 0].tolist() == [0, 10, 20] and list(skipped) == ["bad.png"]
    assert len(list(cache.glob("[!.]*"))) == 1
    forbid_decoding(monkeypatch)
    again, skipped_again = read(root, files, on_error="skip", cache=cache)
    assert capsys.readouterr().err == ""  # it is announced once
    np.testing.assert_array_equal(first, again)
    assert skipped_again == skipped


@pytest.mark.parametrize("change", ["side", "order", "content", "time", "channels"])
def test_cache_is_not_used_for_anything_else(pictures, change):
    root, files, cache = pictures
    files.remove("bad.png")
    read(root, files, cache=cache)
    settings = {"side": {"side": 2}, "channels": {"channels": 3}}.get(change, {})
    if change == "order":
        files = files[::-1]
    if change == "content":
        stat = (root / "0.png").stat()
        save(root / "0.png", RNG.integers(0, 256, (2, 3), dtype=np.uint8))
        os.utime(root / "0.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if change == "time":
        os.utime(root / "0.png", ns=(1, 1))
    images, _ = read(root, files, cache=cache, **settings)
    expected, _ = read(root, files, **settings)
    np.testing.assert_array_equal(images, expected)
    assert len(list(cache.glob("[!.]*"))) == 2


@pytest.mark.parametrize("damage", ["cut", "short", "no list", "half a list", "pickle", "bit"])
def test_a_damaged_cache_is_rebuilt(pictures, damage):
    root, files, cache = pictures
    expected, _ = read(root, files, on_error="skip", cache=cache)
    expected = np.array(expected)
    (entry,) = cache.glob("[!.]*")
    array, listing = entry / "images.npy", entry / "entry.json"
    if damage == "cut":
        array.write_bytes(array.read_bytes()[:-1])
    if damage == "short":
        array.write_bytes(b"")
    if damage == "no list":
        listing.unlink()
    if damage == "half a list":
        listing.write_text('{"bad.png": "not')
    if damage == "bit":
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    if damage == "pickle":
        np.save(array, np.array([{}], dtype=object), allow_pickle=True)
    images, skipped = read(root, files, on_error="skip", cache=cache)
    np.testing.assert_array_equal(images, expected)
    assert list(skipped) == ["bad.png"]
    assert [e.name for e in cache.glob("[!.]*")] == [entry.name]


@pytest.mark.parametrize("cached", [False, True])
def test_digests_and_sums_are_those_of_the_images(pictures, cached):
    root, files, cache = pictures
    for _ in range(2):
        found = read_images(
            root, files, ImageFormat(), on_error="skip", cache=str(cache) if cached else ""
        )
        expected = [hashlib.blake2b(x.tobytes(), digest_size=16).digest() for x in found.images]
        assert [bytes(each) for each in found.digests] == expected
        assert len(set(expected)) == len(files) - 1  # one cannot be read
        whole = found.images.astype(int)
        sums = np.stack([whole.sum((1, 2)), (whole**2).sum((1, 2))], axis=1)
        np.testing.assert_array_equal(found.sums, sums)


def test_one_changed_image_of_many_changes_the_identity(tmp_path):
    for i in range(10):
        (tmp_path / "unlabeled").mkdir(exist_ok=True)
        save(tmp_path / "unlabeled" / f"{i}.png", np.full((4, 4), 10 * i, np.uint8))
    seen = set()
    for changed in (None, *range(10)):
        if changed is not None:
            save(tmp_path / "unlabeled" / f"{changed}.png", np.full((4, 4), 250, np.uint8))
        data = load("folder", path=str(tmp_path))
        data = dataclasses.replace(data, intensity=Intensity())  # the means change too
        seen.add(data.fingerprint(data.unlabeled))
    assert len(seen) == 11


def test_a_failed_run_leaves_no_entry(pictures):
    root, files, cache = pictures
    with pytest.raises(InputError, match="bad.png"):
        read(root, files, cache=cache)
    assert list(cache.glob("[!.]*")) == []


def test_an_interrupted_run_is_not_trusted(pictures):
    # What a killed process leaves behind: an unfinished folder next to the entries.
    root, files, cache = pictures
    read(root, files, on_error="skip", cache=cache)
    (entry,) = cache.glob("[!.]*")
    expected = np.load(entry / "images.npy")
    shutil.move(entry, cache / ".unfinished-x")
    (cache / ".unfinished-x" / "images.npy").write_bytes(b"half")
    read(root, files, on_error="skip", cache=cache)
    np.testing.assert_array_equal(np.load(entry / "images.npy"), expected)


def test_two_runs_fill_one_cache(pictures):
    root, files, cache = pictures
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(read(root, files, on_error="skip", cache=cache))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(list(cache.glob("[!.]*"))) == 1
    for images, skipped in results:
        assert images[:, 0, 0, 0].tolist() == [0, 10, 20] and list(skipped) == ["bad.png"]


def test_cache_folder_errors(pictures, monkeypatch):
    root, files, cache = pictures
    cache.write_text("a file")
    with pytest.raises(InputError, match=r"data\.cache=.*cannot be written"):
        read(root, files, on_error="skip", cache=cache)
    cache.unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(InputError, match=r"data\.cache=.*GB free"):
        read(root, files, on_error="skip", cache=cache)


def test_a_dangling_link_with_a_cache(pictures):
    root, files, cache = pictures
    (root / "bad.png").unlink()
    (root / "bad.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError, match="bad.png cannot be read"):
        read(root, files, cache=cache)
    images, skipped = read(root, files, on_error="skip", cache=cache)
    assert len(images) == 3 and list(skipped) == ["bad.png"]
