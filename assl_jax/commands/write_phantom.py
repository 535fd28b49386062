"""Write the phantoms of `phantom_ct` as NIfTI files with a table, for the source `volumes`.

python -m assl_jax write_phantom FOLDER [--volumes=600 --shape=16,28,28 ...]
"""

import csv
import inspect
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.command_line import Options
from assl_jax.data.phantom_ct import WINDOW, phantom, phantom_ct
from assl_jax.errors import InputError, require

FIELD_OF_VIEW = 220.0  # mm along each axis


def write_phantom(folder: str | Path, **settings: Any) -> None:
    """Write every volume of `phantom_ct(**settings)`, and `volumes.csv` with its splits.

    The files hold HU without clipping on the axes x, y, z, in RAS millimetres like a scanner's.
    With `window=(-20, 100)`, the source `volumes` gives the arrays and splits of `phantom_ct`.

    Args:
      folder: a new or empty folder; it is created if needed.
      **settings: as in `phantom_ct`.

    Raises:
      InputError: a folder that is not empty or cannot be written, or a setting that `phantom_ct`
        refuses.
    """
    import nibabel

    folder = Path(folder)
    require(folder.is_dir() or not folder.exists(), f"{folder} is a file; name a new folder")
    try:
        require(
            not folder.exists() or not any(folder.iterdir()),
            f"{folder} is not empty; name a new folder",
        )
        data = phantom_ct(**settings)
        seed = settings.get("seed", 0)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    splits = dict.fromkeys(data.test.tolist(), "test")
    splits |= dict.fromkeys(data.labelled_sets[0].tolist(), "train")
    z, y, x = FIELD_OF_VIEW / np.asarray(data.space)
    affine = np.diag([-x, -y, z, 1.0])  # the arrays' axes point left, back and up
    rows = []
    for i, label in enumerate(data.labels):
        name, split = f"head_{i:04d}.nii.gz", splits.get(i, "unlabeled")
        voxels = phantom(i, shape=data.space, seed=seed).transpose(2, 1, 0)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / name)
        known = "" if split == "unlabeled" else data.class_names[label]
        rows.append({"path": name, "label": known, "split": split, "patient": f"p{i:04d}"})
    with (folder / "volumes.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def main(argv: list[str]) -> None:
    """The command; raises as `write_phantom` does."""
    parser = Options(
        prog="python -m assl_jax write_phantom",
        description="Write generated head phantoms as NIfTI files with a table.",
    )
    parser.add_argument("folder")
    for name, parameter in inspect.signature(phantom_ct).parameters.items():
        default = parameter.default
        kind = type(default) if isinstance(default, int) else numbers
        parser.add_argument(f"--{name}", type=kind, default=default)
    settings = vars(parser.parse_args(argv))
    folder = settings.pop("folder")
    write_phantom(folder, **settings)
    low, high = map(int, WINDOW)
    print(
        f"wrote {settings['volumes']} volumes; to train on them:\n"
        f"python -m assl_jax run mtassl_volumes:small --config.data.path={folder} "
        f'--config.data.window="({low},{high})"'
    )


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers that are separated by commas."""
    return tuple(map(int, text.split(",")))
