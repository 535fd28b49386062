"""`python -m assl_jax write_phantom`: the files, and their data set."""

import numpy as np
import pytest

from assl_jax.commands.write_phantom import main, write_phantom
from assl_jax.data import load
from assl_jax.data.phantom_ct import PhantomCT
from assl_jax.errors import InputError

SMALL = {"volumes": 24, "shape": (8, 12, 10), "labels": 8, "test": 8}
ARGUMENTS = ["--volumes=24", "--shape=8,12,10", "--labels=8", "--test=8"]


def test_the_files_give_the_same_data_set(tmp_path, capsys):
    direct = PhantomCT(**SMALL).load()
    main([str(tmp_path / "heads"), *ARGUMENTS])
    assert f"--config.data.path={tmp_path / 'heads'}" in capsys.readouterr().out
    read = load("volumes", path=str(tmp_path / "heads"), window=(-20, 100), cache=str(tmp_path))
    np.testing.assert_array_equal(np.asarray(read.images), direct.images)
    assert read.class_names == direct.class_names and read.intensity == direct.intensity
    np.testing.assert_array_equal(read.unlabeled, direct.unlabeled)
    np.testing.assert_array_equal(read.test, direct.test)
    np.testing.assert_array_equal(read.labelled_sets[0], direct.labelled_sets[0])
    for rows in (read.test, read.labelled_sets[0]):
        np.testing.assert_array_equal(read.labels[rows], direct.labels[rows])
    assert read.test_patients == 8


def test_the_same_command_goes_on_and_another_is_refused(tmp_path):
    write_phantom(tmp_path, **SMALL)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "volumes.csv").unlink()  # as if it was stopped
    (tmp_path / "head_0023.nii.gz").unlink()
    write_phantom(tmp_path, **SMALL)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    with pytest.raises(InputError, match="head_0000.nii.gz holds something else"):
        write_phantom(tmp_path, **SMALL, seed=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    write_phantom(tmp_path, **SMALL, seed=1, force=True)
    assert (tmp_path / "head_0000.nii.gz").read_bytes() != whole["head_0000.nii.gz"]
