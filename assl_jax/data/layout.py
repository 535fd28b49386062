"""Folders of images: `train/<class>/**` and the other forms that `data.folder` names."""

from collections.abc import Sequence
from pathlib import Path

from assl_jax.data.image_file import EXTENSIONS, endings, find_images
from assl_jax.data.masks import masks_among
from assl_jax.data.names import SPLITS, VALIDATION, in_folder, shown, split_of
from assl_jax.data.rows import Row, collection_paused
from assl_jax.errors import require

WHAT = "the folder that holds train/<class>/"
LAST_FOLDER = "'([^/]+)/[^/]+$'"  # a pattern for `data.patient`


@collection_paused()
def layout(root: Path) -> tuple[list[Row], list[str]]:
    """The rows that the folders give, and notes about what was not read."""
    rows, notes = _found(root)
    masks = masks_among(row.path for row in rows)
    if not masks:
        return rows, notes
    mask, image = next(iter(masks.items()))
    example = f"{shown(mask)} of {shown(image)}"
    kept = [row for row in rows if row.path not in masks]
    before, after = ({row.label for row in some if row.label} for some in (rows, kept))
    require(
        len(after) > 1 or len(before) < 2,
        f"{root} holds images and their masks, such as {example}, which are no classes; put the "
        "images into train/<class>/, list them in a table (data.csv), or move them to unlabeled/ "
        "if nothing has a label",
    )
    return kept, [*notes, f"{len(masks)} masks are left out, such as {example}"]


def _found(root: Path) -> tuple[list[Row], list[str]]:
    entries = in_folder(root)
    require(bool(entries), f"data.path={str(root)!r} is an empty folder; name {WHAT}")
    folders = [entry.name for entry in entries if entry.is_dir()]
    named: dict[str, list[str]] = {}
    for name in folders:
        if split := split_of(name):
            named.setdefault(split, []).append(name)
    notes: list[str] = []
    if not named.keys() & set(SPLITS):
        if not folders:
            return _images(root, "", notes), notes
        return _classes(root, "", "", notes), notes
    for split, names in named.items():
        require(
            len(names) == 1,
            f"{root} has {'/ and '.join(names)}/, which both name the {split} images; merge them "
            "or rename one",
        )
    labelled = [split for split in ("train", VALIDATION, "test") if split in named]
    require(
        not labelled or "train" in named,
        f"{root} has {' and '.join(names[0] for names in named.values())}/ but no train/ with a "
        "folder per class",
    )
    rows = []
    if "unlabeled" in named:
        (name,) = named["unlabeled"]
        rows = _images(root, name, notes)
    for split in labelled:
        rows += _classes(root, named[split][0], split, notes)
    others = [shown(f"{name}/") for name in folders if not split_of(name)]
    if others:
        notes.append(
            f"ignored next to {named[labelled[0]][0] if labelled else named['unlabeled'][0]}/: "
            f"{', '.join(others)}"
        )
    return rows, notes


def _images(
    root: Path, name: str, notes: list[str], label: str = "", split: str = "unlabeled"
) -> list[Row]:
    """The image files below `root / name`; a note about other files."""
    images, others = find_images(root / name)
    if others:
        notes.append(f"no images in {shown(name) or '.'}/: {endings(others)}")
    require(
        bool(images),
        f"{shown(str(root / name))} holds no images; it has {endings(others) or 'no files'}; add "
        "some or remove it",
    )
    paths = [f"{name}/{file}" for file in images] if name else images
    return [Row("", path, label, split) for path in paths]


def _classes(root: Path, name: str, split: str, notes: list[str]) -> list[Row]:
    """The images of the class folders in `root / name`, each with at least one image."""
    entries = in_folder(root / name)
    names = [entry.name for entry in entries if entry.is_dir()]
    require(bool(names), f"{root / name} has no class folders: put images in train/<class>/")
    # A single folder usually means that `path` names the folder above the right one.
    require(
        len(names) > 1 or split not in ("", "train"),
        f"{root / name} has one class folder only, {names[0]}/; add a second class, or let "
        "data.path name the folder that holds train/, or rename it to unlabeled/ if nothing has a "
        "label",
    )
    beside = [entry.name for entry in entries if not entry.is_dir()]
    if pictures := [file for file in beside if file.lower().endswith(EXTENSIONS)]:
        notes.append(f"{len(pictures)} images next to the class folders are ignored")
    rows = []
    for c in names:
        inner = {split_of(entry.name) for entry in in_folder(root / name / c) if entry.is_dir()}
        require(
            not {"train", "test"} <= inner,
            f"{shown(str(root / name / c))} holds train/ and test/; put the images into "
            f"train/{shown(c)}/ and test/{shown(c)}/ of data.path",
        )
        rows += _images(root, f"{name}/{c}" if name else c, notes, c, split or "train")
    return rows


def perhaps_patients(rows: Sequence[Row]) -> list[str]:
    """A note if class folders hold folders, which may be patients."""
    deep = [row for row in rows if row.label and row.inside.count("/") > 1]
    if len({row.path.rpartition("/")[0] for row in deep}) <= len({row.label for row in deep}):
        return []
    return [
        f"the class folders hold folders, as in {shown(deep[0].path)}; if each is one patient, set "
        f"data.patient={LAST_FOLDER} so that no patient is in training and test"
    ]
