"""Masks beside images: they are nothing to learn from, and a folder of them is no class."""

import functools
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable

_PART = r"(?:(?:train|training|val|valid|validation|test|image|img)[ _-]?)?"
_MASKS = r"(?:masks|segmentations|annotations|ground[ _-]?truths?)"
_MASK = rf"(?:{_MASKS}|mask|seg|segmentation|annotation|labels?|gt)"
_IMAGES = r"(?:images?|imgs?|jpegimages|originals?|inputs?|photos?|pictures?|scans?|x-?rays?|rgb)"
# Names of folders: of masks, of masks and never of a class, of images.
MASK_FOLDER = re.compile(_PART + _MASK, re.I)
NO_CLASS = re.compile(_PART + _MASKS, re.I)
IMAGE_FOLDER = re.compile(_PART + _IMAGES, re.I)
ENDING = re.compile(rf"[ _.-]+{_MASK}(?:[ _-]?\d+)?$|^{_MASK}[ _.-]+", re.I)  # of a file's name
MOST = 0.5  # of the files in a folder of masks belong to images


def masks_among(paths: Iterable[str]) -> dict[str, str]:
    """The paths that are masks, each with the path of an image to which it or its folder belongs.

    `a/1_mask.png` is the mask of `a/1.png`, and so is `masks/1.png` of `images/1.png`. A folder of
    masks needs a folder of images beside it, since `mask` and `no_mask` may be two classes.

    Args:
      paths: of images, with slashes.
    """
    places = [(*posixpath.split(path), path) for path in paths]
    stems = [posixpath.splitext(name)[0] for _, name, _ in places]
    is_folder = functools.cache(lambda folder: MASK_FOLDER.fullmatch(posixpath.basename(folder)))
    doubtful = [
        i
        for i, ((folder, *_), stem) in enumerate(zip(places, stems, strict=True))
        if is_folder(folder) or ENDING.search(stem)
    ]
    if not doubtful:
        return {}
    known = {(folder, stem): path for (folder, _, path), stem in zip(places, stems, strict=True)}
    around = defaultdict[str, set[str]](set)
    for folder, _, _ in places:
        around[posixpath.dirname(folder)].add(folder)
    found: dict[str, str] = {}
    of_folder = defaultdict[str, list[str]](list)
    for i in doubtful:
        folder, _, path = places[i]
        if image := _image_of(folder, stems[i], known, around):
            found[path] = image
        if is_folder(folder):
            of_folder[folder].append(path)
    for files in of_folder.values():
        images = [found[path] for path in files if path in found]
        if len(images) > MOST * len(files):
            found |= {path: found.get(path, images[0]) for path in files}
    return found


def _image_of(
    folder: str, stem: str, known: dict[tuple[str, str], str], around: dict[str, set[str]]
) -> str:
    """The image whose mask `folder/stem` may be; "" if there is none."""
    bare = ENDING.sub("", stem)
    parent, name = posixpath.split(folder)
    # By its own name it is a mask of an image in the same folder, or beside it.
    pairs = [(folder, bare), (parent, bare)] if bare != stem else []
    if MASK_FOLDER.fullmatch(name):
        always = NO_CLASS.fullmatch(name) or bare != stem
        beside = [
            other
            for other in sorted(around[parent])
            if other != folder and (always or IMAGE_FOLDER.fullmatch(posixpath.basename(other)))
        ]
        pairs += [(place, each) for place in (*beside, parent) for each in (stem, bare)]
    return next((known[pair] for pair in pairs if pair in known), "")
