"""Names that people give to folders, files, splits and classes, each kind in one table."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from assl_jax.errors import InputError

Entry = os.DirEntry[str]
SPLITS = ("unlabeled", "train", "test")
VALIDATION = "val"
SPELLINGS: dict[str, tuple[str, ...]] = {  # compared in lower case, without spaces and signs
    "unlabeled": ("unlabeled", "unlabelled", "unsup", "unsupervised", "unannotated"),
    "train": ("train", "training", "trn"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
SPLIT_OF = {name: split for split, names in SPELLINGS.items() for name in names}
ENDINGS = ("dataset", "data", "set", "split", "images", "volumes")  # as in test_set

# Left by systems and programs, next to the user's own files; in lower case.
SYSTEM = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "thumbs", "thumbnails", "__pycache__"),
    "dicomdir",
}
MISSING = ("", "na", "n/a", "<na>", "nan", "-1")  # labels that say: not labelled; in lower case
UNKNOWN = {  # what stands for a patient who is not known, and can be the name of a class
    *("none", "null", "nil", "unknown", "unk", "unbekannt", "inconnu", "anonymous", "anonymized"),
    *("anonymised", "anonym", "anon", "missing", "not available", "-", "--", "?", "."),
}
SIDES = {
    *("left", "right", "lt", "rt", "links", "rechts", "gauche", "droite", "droit"),
    *("izquierda", "izquierdo", "derecha", "derecho", "sinistra", "sinistro", "destra", "destro"),
    *("laterality", "side", "sinister", "dexter"),
}
SIDE_PAIRS = (("l", "r"), ("os", "od"))  # of sides only where both are there


def plain(name: str) -> str:
    """A name in Unicode's composed form (NFC), without spaces around it."""
    return unicodedata.normalize("NFC", name).strip()


def shown(name: str) -> str:
    """A file's name for messages and records: bytes that are no UTF-8 become question marks."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def special(path: Path) -> str:
    """Why a path is never opened: reading a pipe, a socket or a device may wait for ever; or ""."""
    fine = path.is_file() or path.is_dir() or not path.exists()
    return "" if fine else "it is a pipe, a socket or a device, and no file"


def split_of(name: str) -> str | None:
    """The split that a folder or a cell names: a key of `SPELLINGS`, or None."""
    word = re.sub(r"[\W_]+", "", plain(name).lower())
    for ending in ENDINGS:
        if word.removesuffix(ending) in SPLIT_OF:
            word = word.removesuffix(ending)
    return SPLIT_OF.get(word)


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, a thumbnail, or left by the system."""
    return name.startswith((".", "~$")) or name.lower() in SYSTEM


def walk(folder: Path) -> Iterator[tuple[str, list[Entry], list[Entry]]]:
    """Every folder in and below one: its path inside, with a slash at the end, folders and files.

    Hidden files and what systems leave (`is_system`) are left out. A link to a folder that contains
    it is not followed. Folders may be nested deeper than Python's calls.
    """
    # Folders to read: path, path inside `folder`, and the folders around it.
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(folder), "", frozenset())]
    while waiting:
        path, inside, above = waiting.pop()
        stat = os.stat(path)
        if (stat.st_dev, stat.st_ino) in above:
            continue
        entries = in_folder(path)
        folders, files = [e for e in entries if e.is_dir()], [e for e in entries if not e.is_dir()]
        yield inside, folders, files
        above |= {(stat.st_dev, stat.st_ino)}
        waiting += [(e.path, f"{inside}{e.name}/", above) for e in reversed(folders)]


def in_folder(folder: str | Path) -> list[Entry]:
    """What a folder holds, sorted, without hidden files and what systems leave."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not is_system(e.name)), key=lambda e: e.name)
    except OSError as error:
        raise InputError(f"{shown(str(folder))} cannot be read: {error.strerror}") from error


def is_missing(label: str) -> bool:
    """Whether a label says that there is none."""
    return label.strip().lower() in MISSING or number_of(label) == -1


def is_unknown(patient: str) -> bool:
    """Whether a patient's name says that the patient is not known."""
    return is_missing(patient) or plain(patient).lower() in UNKNOWN


def one_patient_each(found: Iterable[str]) -> dict[str, str]:
    """Map every spelling of a patient to one of them.

    Patients that differ in upper and lower case, in the form of a Unicode text, in spaces around
    it, or in how a whole number is written (`7`, `007`, `7.0`), are one: that never puts one
    patient on both sides of a split, which two would. `1.1` and `1.10` are two.
    """
    groups = _spellings(found, whole=True)
    return {name: names[0] for names in groups.values() for name in names}


def one_name_each(found: Iterable[str], where: str) -> dict[str, str]:
    """Map every spelling of a class to the class's one name.

    Two forms of one Unicode text, and two spellings of one number (`1` and `1.0`), are one class,
    named after the shortest spelling. Names that differ in upper and lower case only, and a name
    that is not UTF-8, are refused; `where` is the table or folder.
    """
    found = set(found)
    for label in sorted(found):
        if label != shown(label):
            raise InputError(f"{where}: the class name {shown(label)!r} is not UTF-8; rename it")
    groups = _spellings(found)
    for key, labels in groups.items():
        if isinstance(key, str) and len({plain(label) for label in labels}) > 1:
            raise InputError(
                f"{where}: the classes {' and '.join(map(repr, labels))} differ in upper and lower "
                "case only; use one spelling"
            )
    return {label: plain(labels[0]) for labels in groups.values() for label in labels}


def speak_of_sides(names: Sequence[str]) -> list[str]:
    """Those of the names that contain a word for left, right or side, or one letter of a pair."""
    words = [set(re.split(r"[\W\d_]+", name.lower())) for name in names]
    pairs = (set(pair) for pair in SIDE_PAIRS if set(pair) <= set().union(*words))
    sides = SIDES.union(*pairs)
    return [name for name, word in zip(names, words, strict=True) if sides & word]


def _spellings(found: Iterable[str], *, whole: bool = False) -> dict[Any, list[str]]:
    """The spellings of each name, the shortest first; of numbers, only whole ones if `whole`."""
    groups: dict[Any, list[str]] = {}
    for name in sorted(set(found), key=lambda name: (len(name), name)):
        number = number_of(name)
        fits = number is not None and (not whole or number == int(number))
        groups.setdefault(number if fits else plain(name).casefold(), []).append(name)
    return groups


def number_of(label: str) -> Decimal | None:
    """A label as a number; None if it is none."""
    text = label.strip()
    return Decimal(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?", text, re.ASCII) else None
