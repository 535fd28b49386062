"""A feed gives the same examples from the device and from the host."""

import threading
import time

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.training import feed as feeds
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 1), dtype=np.uint8)
ROWS = [np.array([3, 1, 1, 19, 0, 7, 8, 2], np.int32), np.arange(8, dtype=np.int32)]


class Rows:
    """Looks like a memory-mapped set to a feed, and counts the reads."""

    def __init__(self, array):
        self.array, self.read, self.by = array, [], set()
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    def __getitem__(self, rows):
        self.read.append(rows)
        self.by.add(threading.get_ident())
        return self.array[rows]

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("devices", [1, 8])
def test_both_placements_give_the_same_batches(devices):
    mesh = make_mesh(jax.devices()[:devices])
    for placement in ("device", "host"):
        feed = Feed(Rows(IMAGES), mesh, placement).select(ROWS[0], np.arange(20))
        assert feed.rows is ROWS[0]
        assert feed.on_device == (placement == "device")
        taken = [jax.jit(lambda e: e.take())(e) for e in feed.batches(ROWS)]
        assert len(taken) == 2
        for rows, (images, numbers) in zip(ROWS, taken, strict=True):
            np.testing.assert_array_equal(images, IMAGES[rows])
            np.testing.assert_array_equal(numbers, rows)
            assert len(images.sharding.device_set) == devices
            assert not images.is_fully_replicated or devices == 1


def test_the_host_reads_a_few_batches_ahead_in_a_thread():
    source = Rows(IMAGES)
    batches = Feed(source, make_mesh(jax.devices()[:1]), "host").batches(ROWS * 4)
    assert not source.read
    next(batches)
    end = time.monotonic() + 10
    while len(source.read) < 1 + feeds.AHEAD and time.monotonic() < end:
        time.sleep(0.01)
    assert len(source.read) == 1 + feeds.AHEAD and threading.get_ident() not in source.by
    batches.close()
    assert len(source.read) == 1 + feeds.AHEAD


def test_an_error_while_reading_ahead_is_raised():
    batches = Feed(IMAGES, make_mesh(jax.devices()[:1]), "host").batches([np.array([99])])
    with pytest.raises(IndexError):
        list(batches)


def test_auto_depends_on_free_memory(monkeypatch):
    mesh = make_mesh(jax.devices()[:1])
    for free, on_device in ((2 * IMAGES.nbytes, True), (2 * IMAGES.nbytes - 2, False)):
        sizes = {"SC_AVPHYS_PAGES": free, "SC_PAGE_SIZE": 1}
        monkeypatch.setattr(feeds.os, "sysconf", sizes.__getitem__)
        assert Feed(IMAGES, mesh).on_device is on_device

    def unknown(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(feeds.os, "sysconf", unknown)  # as on macOS
    assert Feed(IMAGES, mesh).on_device
    monkeypatch.delattr(feeds.os, "sysconf")  # as on Windows
    assert Feed(IMAGES, mesh).on_device
    monkeypatch.setattr(feeds, "ASSUMED_FREE", IMAGES.nbytes)
    assert not Feed(IMAGES, mesh).on_device
    with pytest.raises(InputError, match="images_on='hots'.*did you mean 'host'"):
        Feed(IMAGES, mesh, "hots")
