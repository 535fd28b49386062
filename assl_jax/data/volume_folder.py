"""The volumes in a folder, and what else is in it: masks, and files that are not read."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from assl_jax.data.image_file import endings
from assl_jax.data.names import is_system, shown, special
from assl_jax.data.volume_reader import READERS, VolumeReader, formats
from assl_jax.errors import InputError, require

MASK_WORDS = {  # in lower case
    *("annotation", "annotations", "aparc", "aseg", "dseg", "groundtruth", "gt", "label", "labels"),
    *("labelmap", "labelmaps", "mask", "masks", "msk", "probseg", "seg", "segs", "segmentation"),
    "segmentations",
}
NAMED = 3  # examples in a sentence


class Found(NamedTuple):
    """What a folder holds, each sorted.

    Attributes:
      folder: the folder.
      volumes: files, and folders of one volume. One that is several files stands under its header.
      masks: volumes whose names say that they are masks of others.
      others: files that no reader takes.
    """

    folder: Path
    volumes: list[Path]
    masks: list[Path]
    others: list[Path]

    def notes(self, include: str) -> list[str]:
        """What is left out, a sentence each; `include` says how to include masks after all."""
        notes = []
        if self.masks:
            some = ", ".join(shown(_inside(file, self.folder)) for file in self.masks[:NAMED])
            more = f" and {len(self.masks) - NAMED} more" if len(self.masks) > NAMED else ""
            one = len(self.masks) == 1
            what = "1 mask is" if one else f"{len(self.masks)} masks are"
            notes.append(
                f"{what} left out: the name{'' if one else 's'} {some}{more} say"
                f"{'s' if one else ''} so; to include masks, {include}"
            )
        if self.others:
            notes.append(f"files that are not read: {endings(file.name for file in self.others)}")
        return notes

    def required(self, include: str, missing: str = "") -> "Found":
        """The same, if there are volumes; `missing` says what else there could be.

        Raises:
          InputError: there are none; the message names what is there.
        """
        masks = [f"{len(self.masks)} masks, as their names say"] if self.masks else []
        rest = endings(file.name for file in self.others)
        found = ", ".join([*masks, *([rest] if rest else [])]) or "no files"
        after_all = f"; to take masks as volumes, {include}" if masks else ""
        require(
            bool(self.volumes),
            f"{self.folder} holds no volumes{missing}; it has {found}, and the program reads "
            f"{formats()}{after_all}",
        )
        return self


def is_mask(name: str) -> bool:
    """Whether a path inside a folder says that a volume is a mask, as in `labelsTr/1.nii`.

    A folder whose name has a number does not count: `label_1` can be a class.
    """
    *folders, file = name.split("/")
    names = [file, *(folder for folder in folders if not re.search(r"\d", folder))]
    return any(MASK_WORDS & {word.lower() for word in _words(each)} for each in names)


def find_volumes(folder: Path) -> Found:
    """Look through a folder: files by their suffix, and folders of one volume by their content.

    The folder itself, or one inside it, is a volume if a reader accepts it; that reader's files in
    it are none, unless they are several volumes. Links to folders are followed.

    Raises:
      InputError: a package that a format needs is not installed.
    """
    volumes, others = set[Path](), set[Path]()
    waiting = [folder]  # folders may be nested deeper than Python's calls, which `os.walk` makes
    while waiting:
        here = waiting.pop()
        folders, files = _content(here)
        links = [path for path in folders if path.is_symlink()]
        # A link to a folder that contains it would lead round in a circle.
        above = {parent.resolve() for parent in (here, *here.parents)} if links else set()
        waiting += [p for p in folders if p not in links or p.resolve() not in above]
        own = [reader for reader in READERS.values() if reader.accepts(here)]
        volumes.update(volume for reader in own for volume in reader.volumes(here))
        found, taken = _single(files, [r for r in READERS.values() if r not in own])
        volumes |= found
        mine = tuple(suffix for reader in own for suffix in reader.suffixes)
        others.update(
            file
            for file in files
            if file not in taken
            and not file.name.lower().endswith(mine)
            and (special(file) or not any(reader.accepts(file) for reader in own))
        )
    masks = {path for path in volumes if is_mask(_inside(path, folder))}
    return Found(folder, sorted(volumes - masks), sorted(masks), sorted(others - volumes))


def _single(files: Sequence[Path], readers: Sequence[VolumeReader]) -> tuple[set[Path], set[Path]]:
    """The volumes among files, by their suffixes, and all files of these volumes."""
    parts = {
        file: _parts(reader, file)
        for file in files
        for reader in readers
        if file.name.lower().endswith(reader.suffixes)
    }
    volumes, taken = set[Path](), set[Path]()
    for file in sorted(parts, key=lambda file: (-len(parts[file]), file)):
        if file not in taken:  # it can be the voxels of another
            volumes.add(file)
            taken.update(parts[file])
    return volumes, taken


def _parts(reader: VolumeReader, file: Path) -> list[Path]:
    try:
        return [file] if special(file) else reader.files(file)
    except InputError:  # a package is missing: who reads the volume says so, if it is no mask
        return [file]


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _words(name: str) -> list[str]:
    """The words of a name: `Lesion_maskTr-1` has Lesion, mask, Tr."""
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)


def _content(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder; none if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not is_system(entry.name)]
    except OSError:
        return [], []
    folders = [folder / entry.name for entry in entries if entry.is_dir()]
    return folders, [folder / entry.name for entry in entries if not entry.is_dir()]
