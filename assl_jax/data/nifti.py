"""The reader of the formats that nibabel knows: NIfTI, ANALYZE and MGH.

A NIfTI or ANALYZE volume can be two files: x.hdr with its header and x.img with its voxels.
"""

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.console import hush
from assl_jax.data.orientation import Stored, checked

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
HEADER_BYTES = 540  # of NIfTI-2; the other headers are shorter
TRAILING_BYTES = 2**26  # after the voxels; more is no such file
SUFFIXES = (".nii", ".nii.gz")
PAIR_SUFFIXES = (".hdr", ".img", ".hdr.gz", ".img.gz")
MGH_SUFFIXES = (".mgz", ".mgh", ".mgh.gz")
PARTNERS = {".hdr": ".img", ".img": ".hdr", ".HDR": ".IMG", ".IMG": ".HDR"}
GZIP = b"\x1f\x8b"  # how a packed file begins
MAGIC = {  # of NIfTI: where it is in a header, and nibabel's class
    (344, b"n+1\0"): "Nifti1Image",
    (4, b"n+2\0"): "Nifti2Image",
    (344, b"ni1\0"): "Nifti1Pair",
    (4, b"ni2\0"): "Nifti2Pair",
}


def is_nifti(path: Path) -> bool:
    """Whether the name or the content says that the file is NIfTI in one piece."""
    if path.is_dir():
        return False
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with _open(path) as file:
            return _class(file.read(HEADER_BYTES)).endswith("Image")
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def _class(head: bytes) -> str:
    """The class in `MAGIC` of a header; "" if it is not NIfTI."""
    return next((name for (at, word), name in MAGIC.items() if head[at : at + 4] == word), "")


def _ends(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes) and not path.is_dir()


def pair_files(path: Path) -> list[Path]:
    """The header and the voxels of a pair, as far as they are there; `path` is either of them."""
    bare = _bare(path)
    partner = bare.with_suffix(PARTNERS.get(bare.suffix, ".img"))
    either = (partner.with_name(partner.name + packed) for packed in ("", ".gz", ".GZ"))
    both = [path, *(file for file in either if file.is_file())][:2]
    return sorted(both, key=lambda file: ".img" in file.name.lower()[-7:])


def identify_pair(path: Path) -> tuple[str, str]:
    """No patient, and a name that both files of a pair share."""
    return "", str(pair_files(path)[0].resolve())


def describe_nifti(path: Path) -> Stored:
    """The volume of a NIfTI, ANALYZE or MGH file, compressed by gzip or not.

    The header of ANALYZE holds no orientation: its axes run to the left, to the front and up, as
    SPM and nibabel take them. Extensions of a header are not looked at. Values may include NaN.
    Either file of a pair stands for it.
    """
    hush("nibabel")
    told = file = path
    if _ends(path, PAIR_SUFFIXES) and not is_nifti(path):
        told, *others = pair_files(path)
        if not others:
            missing = ".hdr" if ".img" in path.name.lower() else ".img"
            raise ValueError(f"the {missing} of its pair is missing; copy both files")
        file = others[0]
    with _open(told) as content:
        head = content.read(HEADER_BYTES)
    kind = _kind(head, told)
    header = kind(head[: kind.template_dtype.itemsize])
    _check_values(header)
    shape, affine = tuple(map(int, header.get_data_shape())), header.get_best_affine()
    dtype = header.get_data_dtype()
    three = checked(shape, affine, dtype, file, packed=_packed(file), start=0)
    units = header.get_xyzt_units() if hasattr(header, "get_xyzt_units") else ("mm",)

    def values() -> np.ndarray:
        from nibabel.arrayproxy import ArrayProxy

        with _open(file) as content:
            found = np.asanyarray(ArrayProxy(content, header, mmap=False))
            try:
                # gzip verifies its checksum at the end
                content.seek(content.tell() + TRAILING_BYTES)
                if content.read(1):
                    raise ValueError("more than its voxels is in it; write it again")
            except gzip.BadGzipFile as e:
                raise ValueError(f"it is damaged, or something follows its content ({e})") from e
        return found.reshape(three)

    return Stored(three, affine, values, unit=MILLIMETRES.get(units[0], 1.0))


def _bare(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _open(path: Path) -> Any:
    """The file's content, unpacked if it is packed; the name does not count."""
    return gzip.open(path) if _packed(path) else path.open("rb")


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


def _kind(head: bytes, path: Path) -> Any:
    """nibabel's class of the header that `head` begins with."""
    import nibabel as nib

    if _ends(path, MGH_SUFFIXES):
        return nib.MGHImage.header_class
    pair, name = _ends(path, PAIR_SUFFIXES), _class(head)
    if not pair and not name.endswith("Image"):
        raise ValueError("it is not a NIfTI file in one piece (.nii or .nii.gz)")
    if name:
        return getattr(nib, name).header_class
    if not nib.Spm2AnalyzeHeader.may_contain_header(head):
        raise ValueError("its .hdr is no header of NIfTI or ANALYZE; copy it again, or convert it")
    if _bare(path).with_suffix(".mat").exists():
        raise ValueError("a .mat beside it holds its orientation (SPM); convert it to NIfTI")
    return nib.Spm2AnalyzeHeader


def _check_values(header: Any) -> None:
    """Refuse values that are not one real number each."""
    try:
        dtype = header.get_data_dtype()
    except KeyError as e:
        raise ValueError(f"its voxels are of an unknown type ({e}); write it again") from e
    if dtype.names or dtype.kind == "c":
        what = "complex" if dtype.kind == "c" else "RGB"
        raise ValueError(f"its voxels are {what}; one real number per voxel is needed")
