"""Write the phantoms of `phantom_ct` as NIfTI files with a table, for the source `volumes`.

python -m assl_jax write_phantom FOLDER [--volumes=600 --shape=16,28,28 ...]
"""

import csv
import gzip
import inspect
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax import outputs
from assl_jax.command_line import Options
from assl_jax.data.phantom_ct import WINDOW, PhantomCT, phantom
from assl_jax.environment import program
from assl_jax.errors import InputError, require

FIELD_OF_VIEW = 220.0  # mm along each axis
TABLE = "volumes.csv"
OWN = r"head_\d+\.nii\.gz|volumes\.csv|\..*"  # names of what it writes; and hidden files


def write_phantom(folder: str | Path, *, force: bool = False, **settings: Any) -> None:
    """Write every volume of `PhantomCT(**settings)`, and `volumes.csv` with its splits.

    The files hold HU without clipping on the axes x, y, z, in RAS millimetres like a scanner's.
    With `window=(-20, 100)`, the source `volumes` gives the arrays and splits of `phantom_ct`. The
    folder is a new or empty one, or one with these volumes, unless `force`.
    """
    import nibabel

    folder = Path(folder)
    require(folder.is_dir() or not folder.exists(), f"{folder} is a file; name a new folder")
    try:
        held = [path.name for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    require(
        force or all(re.fullmatch(OWN, name) for name in held),
        f"{folder} is not empty; name a new folder",
    )
    data = PhantomCT(**settings).load()
    splits = dict.fromkeys(data.test.tolist(), "test")
    splits |= dict.fromkeys(data.labelled_sets[0].tolist(), "train")
    z, y, x = FIELD_OF_VIEW / np.asarray(data.space)
    affine = np.diag([-x, -y, z, 1.0])  # the arrays' axes point left, back and up
    rows = []
    for i, label in enumerate(data.labels):
        name, split = f"head_{i:04d}.nii.gz", splits.get(i, "unlabeled")
        voxels = phantom(i, shape=data.space, seed=settings.get("seed", 0)).transpose(2, 1, 0)
        content = gzip.compress(nibabel.Nifti1Image(voxels, affine).to_bytes(), 1, mtime=0)
        outputs.write({folder / name: content}, force=force)
        known = "" if split == "unlabeled" else data.class_names[label]
        rows.append({"path": name, "label": known, "split": split, "patient": f"p{i:04d}"})
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    outputs.write({folder / TABLE: text.getvalue().encode()}, force=force)


def main(argv: list[str]) -> None:
    """The command."""
    parser = Options(
        "write_phantom", description="Write generated head phantoms as NIfTI files with a table."
    )
    parser.add_argument("folder")
    for name, parameter in inspect.signature(PhantomCT).parameters.items():
        default = parameter.default
        kind = type(default) if isinstance(default, int) else numbers
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_force()
    settings = vars(parser.parse_args(argv))
    folder = settings.pop("folder")
    write_phantom(folder, **settings)
    low, high = map(int, WINDOW)
    print(
        f"wrote {settings['volumes']} volumes; to train on them:\n"
        f"{program()} run mtassl_volumes:small --config.data.path={folder} "
        f'--config.data.window="({low},{high})"'
    )


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers that are separated by commas."""
    return tuple(map(int, text.split(",")))
