"""The files of a table among those in the folder: found by their names, or beside it."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from assl_jax.data.image_file import endings, find_images, is_image
from assl_jax.data.masks import masks_among
from assl_jax.data.names import Entry, in_folder, shown
from assl_jax.data.rows import Row
from assl_jax.errors import InputError, require


def found_by_name(root: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows with paths below `root`, and a note about those that were written otherwise.

    Public tables often hold a file's name without its folder or its ending, or a path that begins
    above `root`. A path that is there stays as it is, and so does one for which nothing is found.
    """
    absent = [row for row in rows if not os.path.lexists(os.path.join(root, row.path))]
    if not absent:
        return list(rows), []
    names = find_images(root)[0]
    masks, images = masks_among(names), set(names)
    by_name = defaultdict[str, list[str]](list)
    for path in names:
        if path not in masks:
            name = PurePosixPath(path)
            for key in {name.name, name.stem}:
                by_name[key].append(path)
    place: dict[str, str] = {}
    for row in absent:
        parts = row.path.split("/")
        tails = ("/".join(parts[k:]) for k in range(1, len(parts)))
        below = next((tail for tail in tails if tail in images), "")
        found = [below] if below else by_name.get(parts[0], []) if len(parts) == 1 else []
        require(
            len(found) < 2,
            f"{row.where}: {shown(row.path)} may be {' or '.join(map(shown, found[:2]))}; write "
            "the path below data.path",
        )
        if found:
            place[row.path] = found[0]
    if not place:
        return list(rows), []
    written, path = next(iter(place.items()))
    note = (
        f"{len(place)} paths of the table are found by their ends, such as {shown(written)} as "
        f"{shown(path)}"
    )
    return [row._replace(path=place.get(row.path, row.path)) for row in rows], [note]


def beside(root: Path, rows: Sequence[Row], table: Path) -> list[str]:
    """Notes about other files in the folders of those that a table lists."""
    listed = {row.path for row in rows}
    images, others = list[str](), list[str]()
    for folder in sorted({path.rpartition("/")[0] for path in listed}):
        entries = list[Entry]()
        with contextlib.suppress(InputError):  # reading its files says so
            entries = in_folder(root / folder)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_file() and path not in listed and root / path != table:
                (images if is_image(root / path) else others).append(path)
    notes = []
    if images:
        notes.append(
            f"{len(images)} images beside those of the table are not in it, such as "
            f"{shown(images[0])}"
        )
    if others:
        notes.append(f"no images beside those of the table: {endings(others)}")
    return notes
