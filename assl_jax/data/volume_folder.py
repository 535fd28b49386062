"""The volumes in a folder, and what else is in it: masks, and files that are not read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from assl_jax.data.image_file import endings
from assl_jax.data.masks import is_mask
from assl_jax.data.names import shown, special, walk
from assl_jax.data.volume_reader import READERS, VolumeReader, formats
from assl_jax.errors import InputError, require


class Found(NamedTuple):
    """What a folder holds, each sorted. A volume of several files stands under its header."""

    folder: Path
    volumes: list[Path]  # files, and folders of one volume
    masks: list[Path]  # volumes whose names say that they are masks of others
    others: list[Path]  # files that no reader takes

    def notes(self, include: str) -> list[str]:
        """What is left out, a sentence each; `include` says how to include masks after all."""
        notes = []
        if self.masks:
            first = shown(_inside(self.masks[0], self.folder))
            what = f"{len(self.masks)} masks are left out, such as {first}"
            notes.append(f"{what}; to include masks, {include}")
        if self.others:
            notes.append(f"files that are not read: {endings(file.name for file in self.others)}")
        return notes

    def required(self, include: str, missing: str = "") -> "Found":
        """The same, if there are volumes; `missing` says what else there could be."""
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


def find_volumes(folder: Path) -> Found:
    """Look through a folder: files by their suffix, and folders of one volume by their content.

    The folder itself, or one inside it, is a volume if a reader accepts it; that reader's files in
    it are none, unless they are several volumes. Links to folders are followed.
    """
    volumes, others = set[Path](), set[Path]()
    for inside, _, entries in walk(folder):
        here, files = folder / inside, [folder / inside / entry.name for entry in entries]
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
