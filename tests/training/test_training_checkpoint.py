"""Trees of arrays on disk."""

import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.training.checkpoint import CheckpointPolicy, Checkpoints, load_tree, save_tree
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


def test_two_checkpoints_are_kept_and_one_at_the_end(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "folder")
    assert checkpoints.latest is None
    for step in (1, 2, 4, 4):  # saving a step again changes nothing
        checkpoints.save(step, {"a": jnp.full(3, float(step))})
        assert checkpoints.latest == step
    mesh = make_mesh()
    back = checkpoints.restore({"a": jnp.zeros(3)}, mesh)["a"]
    np.testing.assert_array_equal(back, [4.0] * 3)
    assert len(back.devices()) == 8
    checkpoints.close()
    assert {p.name for p in (tmp_path / "new" / "folder").iterdir()} == {"2", "4"}
    Checkpoints(tmp_path / "new" / "folder").close(finished=True)
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["4"]


def test_what_a_killed_process_has_half_written_is_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, {"a": jnp.zeros(3)})
    checkpoints.close()
    shutil.copytree(tmp_path / "2", tmp_path / "4.orbax-checkpoint-tmp")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest == 2
    checkpoints.save(4, {"a": jnp.zeros(3)})
    checkpoints.close()
    assert {p.name for p in tmp_path.iterdir()} == {"2", "4"}


def test_when_a_checkpoint_is_due(tmp_path):
    for policy, steps in ((CheckpointPolicy(checkpoint_every=3), [3, 6]), (None, [])):
        checkpoints = Checkpoints(tmp_path, policy)
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


def one_bit(folder):
    """One bit of the largest file of the arrays, as an old disk may lose it."""
    file = max((f for f in folder.glob("**/d/*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [empty, without_arrays, one_bit])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(damage, tmp_path, capsys):
    start, mesh = {"a": jnp.zeros(300)}, make_mesh()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.resume(start, mesh) is start
    rng = np.random.default_rng(0)
    old, new = ({"a": jnp.asarray(rng.normal(size=300), jnp.float32)} for _ in range(2))
    checkpoints.save(2, old)
    checkpoints.save(4, new)
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], new["a"])
    damage(tmp_path / "4")
    capsys.readouterr()
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], old["a"])
    assert "4 is damaged; this training goes on from step 2" in capsys.readouterr().err
    damage(tmp_path / "2")
    assert checkpoints.resume(start, mesh) is start and checkpoints.latest is None
    assert "2 is damaged; this training begins anew" in capsys.readouterr().err
    checkpoints.save(1, old)
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], old["a"])
    checkpoints.close()


def test_no_flipped_bit_of_weights_goes_unnoticed(tmp_path):
    """Either the weights are refused, or they are the right ones: not every byte is read."""
    rng = np.random.default_rng(0)
    tree = {"params": {"kernel": rng.normal(size=(3, 3, 8, 8)).astype(np.float32)}}
    save_tree(tmp_path / "tree", tree)
    noticed = 0
    for file in [f for f in (tmp_path / "tree").rglob("*") if f.is_file()]:
        whole = file.read_bytes()
        for position in np.unique(np.linspace(0, len(whole) - 1, 5).astype(int)):
            content = bytearray(whole)
            content[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(content)
            try:
                found = load_tree(tmp_path / "tree")
            except InputError as error:
                assert "are damaged or missing; repeat the command" in str(error)
                noticed += 1
            else:
                np.testing.assert_array_equal(found["params"]["kernel"], tree["params"]["kernel"])
        file.write_bytes(whole)
    assert noticed >= 5
    shutil.rmtree(tmp_path / "tree")
    with pytest.raises(InputError, match="damaged or missing"):
        load_tree(tmp_path / "tree")


def test_a_disk_that_fails_for_a_moment_costs_nothing(tmp_path, monkeypatch):
    start, mesh = {"a": jnp.zeros(3)}, make_mesh()
    save_tree(tmp_path / "tree", TREE)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(4, {"a": jnp.full(3, 4.0)})

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    for patched in ((checkpoints, "restore"), ("assl_jax.files.file_digest",)):
        with monkeypatch.context() as patch:
            patch.setattr(*patched, fail)
            with pytest.raises(InputError, match="4 cannot be read: Input/output error"):
                checkpoints.resume(start, mesh)
            if patched[0] is not checkpoints:
                with pytest.raises(InputError, match="tree cannot be read: Input/output error"):
                    load_tree(tmp_path / "tree")
    np.testing.assert_array_equal(checkpoints.resume(start, mesh)["a"], [4.0] * 3)
    checkpoints.close()
