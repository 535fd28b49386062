"""Masks beside images: they are nothing to learn from, and a folder of them is no class."""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable

WORDS = (  # for a mask, and for several
    *("annotation", "ground[ _-]?truth", "gt", "label", "labelmap", "mask", "msk", "seg"),
    *("segmentation", "aparc", "aseg", "dseg", "probseg"),
)
_PART = r"(?:(?:train|training|val|valid|validation|test|image|img)[ _-]?)?"
_MASKS = r"(?:masks|segmentations|annotations|ground[ _-]?truths?)"
_MASK = rf"(?:{'|'.join(WORDS)})s?"
_IMAGES = r"(?:images?|imgs?|jpegimages|originals?|inputs?|photos?|pictures?|scans?|x-?rays?|rgb)"
# Names of folders: of masks, of masks and never of a class, of images.
MASK_FOLDER = re.compile(_PART + _MASK, re.I)
NO_CLASS = re.compile(_PART + _MASKS, re.I)
IMAGE_FOLDER = re.compile(_PART + _IMAGES, re.I)
WORD = re.compile(_MASK, re.I)
ENDING = re.compile(rf"[ _.-]+{_MASK}(?:[ _-]?\d+)?$|^{_MASK}[ _.-]+", re.I)  # of a file's name
HINTS = ("mask", "msk", "seg", "annot", "truth", "label", "gt", "aparc")  # one is in such names
MOST = 0.5  # of the files in a folder of masks belong to images


def is_mask(name: str) -> bool:
    """Whether a path inside a folder says that a volume is a mask, as in `labelsTr/1.nii`.

    A folder whose name has a number does not count: `label_1` can be a class.
    """
    *folders, file = name.split("/")
    names = [file, *(folder for folder in folders if not re.search(r"\d", folder))]
    return any(WORD.fullmatch(word) for each in names for word in _words(each))


def _words(name: str) -> list[str]:
    """The words of a name: `Lesion_maskTr-1` has Lesion, mask, Tr."""
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)


def masks_among(paths: Iterable[str]) -> dict[str, str]:
    """The paths that are masks, each with the path of an image to which it or its folder belongs.

    `a/1_mask.png` is the mask of `a/1.png`, and so is `masks/1.png` of `images/1.png`. A folder of
    masks needs a folder of images beside it, since `mask` and `no_mask` may be two classes.
    """
    paths = list(paths)
    # There may be a million, which are looked at one by one only if one of the words is there.
    names = "\n".join(paths).lower().replace("unlabel", "")
    if not any(hint in names for hint in HINTS):
        return {}
    is_folder = functools.cache(lambda folder: bool(MASK_FOLDER.fullmatch(_name(folder))))
    doubtful = [
        path
        for path in paths
        if is_folder(path.rpartition("/")[0]) or ENDING.search(_stem(_name(path)))
    ]
    if not doubtful:
        return {}
    known: dict[tuple[str, str], str] = {}
    around = defaultdict[str, set[str]](set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        known[folder, _stem(name)] = path
        around[folder.rpartition("/")[0]].add(folder)
    found: dict[str, str] = {}
    of_folder = defaultdict[str, list[str]](list)
    for path in doubtful:
        folder, _, name = path.rpartition("/")
        if image := _image_of(folder, _stem(name), known, around):
            found[path] = image
        if is_folder(folder):
            of_folder[folder].append(path)
    for files in of_folder.values():
        images = [found[path] for path in files if path in found]
        if len(images) > MOST * len(files):
            found |= {path: found.get(path, images[0]) for path in files}
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _image_of(
    folder: str, stem: str, known: dict[tuple[str, str], str], around: dict[str, set[str]]
) -> str:
    """The image whose mask `folder/stem` may be; "" if there is none."""
    bare = ENDING.sub("", stem)
    parent, _, name = folder.rpartition("/")
    # By its own name it is a mask of an image in the same folder, or beside it.
    pairs = [(folder, bare), (parent, bare)] if bare != stem else []
    if MASK_FOLDER.fullmatch(name):
        always = NO_CLASS.fullmatch(name) or bare != stem
        beside = [
            other
            for other in sorted(around[parent])
            if other != folder and (always or IMAGE_FOLDER.fullmatch(_name(other)))
        ]
        pairs += [(place, each) for place in (*beside, parent) for each in (stem, bare)]
    return next((known[pair] for pair in pairs if pair in known), "")
