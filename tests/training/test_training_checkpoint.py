"""Trees of arrays on disk."""

import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.training.checkpoint import Checkpoints, load_tree, save_tree
from assl_jax.training.sharding import make_mesh, replicate

TREE = {"params": {"a": jnp.arange(6.0).reshape(2, 3), "b": {"c": jnp.ones(2, jnp.int32)}}}


def test_round_trip_from_eight_devices_to_numpy(tmp_path):
    save_tree(tmp_path / "tree", replicate(TREE, make_mesh()))
    back = load_tree(tmp_path / "tree")
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(back))
    assert back["params"]["b"]["c"].dtype == np.int32
    jax.tree.map(np.testing.assert_array_equal, back, TREE)


def test_a_tree_replaces_an_older_one(tmp_path):
    save_tree(tmp_path / "tree", TREE)
    save_tree(tmp_path / "tree", {"other": jnp.zeros(3)})
    assert list(load_tree(tmp_path / "tree")) == ["other"]
    assert [p.name for p in tmp_path.iterdir()] == ["tree"]


def test_only_the_newest_checkpoint_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "folder")
    assert checkpoints.latest is None
    for step in (2, 4, 4):  # saving a step again changes nothing
        checkpoints.save(step, {"a": jnp.full(3, float(step))})
        assert checkpoints.latest == step
    mesh = make_mesh()
    back = checkpoints.restore({"a": jnp.zeros(3)}, mesh)["a"]
    np.testing.assert_array_equal(back, [4.0] * 3)
    assert len(back.devices()) == 8
    checkpoints.close()
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["4"]


def test_when_a_checkpoint_is_due(tmp_path):
    for every, steps in ((3, [3, 6]), (0, [])):
        checkpoints = Checkpoints(tmp_path, every)
        assert [step for step in range(1, 8) if checkpoints.due(step)] == steps
        checkpoints.close()


def empty(folder):
    """Every file of the arrays, as a full disk leaves them."""
    files = [file for file in folder.glob("**/d/*") if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(b"")


def without_arrays(folder):
    shutil.rmtree(folder / "default")


@pytest.mark.parametrize("damage", [empty, without_arrays])
def test_a_damaged_checkpoint_is_said_and_the_training_begins_anew(damage, tmp_path, capsys):
    start, mesh = {"a": jnp.zeros(3)}, make_mesh()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.resume(start, mesh) is start
    checkpoints.save(4, {"a": jnp.full(3, 4.0)})
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], [4.0] * 3)
    damage(tmp_path / "4")
    capsys.readouterr()
    assert checkpoints.resume(start, mesh) is start and checkpoints.latest is None
    assert "4 is damaged; this training begins anew" in capsys.readouterr().err
    checkpoints.save(2, {"a": jnp.full(3, 2.0)})
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], [2.0] * 3)
    checkpoints.close()


def test_a_disk_that_fails_for_a_moment_costs_no_checkpoint(tmp_path, monkeypatch):
    start, mesh = {"a": jnp.zeros(3)}, make_mesh()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, {"a": jnp.full(3, 4.0)})

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "restore", fail)
        with pytest.raises(OSError, match="Input/output"):
            checkpoints.resume(start, mesh)
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], [4.0] * 3)
    checkpoints.close()
